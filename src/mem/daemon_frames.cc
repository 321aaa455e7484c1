// SPDX-License-Identifier: Apache-2.0
#include "mem/daemon_frames.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace bulkhead {

using daemon::Request;

namespace {

constexpr long kAnswerSeconds = 120;  // a daemon may have much to allocate
constexpr int kRetryMs = 20;
constexpr int kMaxAttempts = 16;

Error no_daemon(int error_number) {
  return Error{Errc::kNotFound, error_number, "no bulkheadd answers: start it, or run without it"};
}

void sleep_ms(int milliseconds) {
  const timespec time{.tv_sec = milliseconds / 1000,
                      .tv_nsec = static_cast<long>(milliseconds % 1000) * 1'000'000};
  ::nanosleep(&time, nullptr);
}

Result<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{Errc::kInvalidArgument, 0, "the path of the daemon's socket is too long"};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd connection(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!connection.valid()) return os_error("cannot create a socket");
  const timeval patience{.tv_sec = kAnswerSeconds, .tv_usec = 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::connect(connection.get(), generic, sizeof address) == 0) return connection;
  if (errno == ENOENT || errno == ECONNREFUSED) return no_daemon(errno);
  return os_error("cannot connect to bulkheadd: are you root or in its group?");
}

// At most one descriptor comes with an answer.
Fd take_descriptor(msghdr& message) {
  const cmsghdr* control = CMSG_FIRSTHDR(&message);
  if (control == nullptr || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
      control->cmsg_len < CMSG_LEN(sizeof(int))) {
    return Fd();
  }
  int number = -1;
  std::memcpy(&number, CMSG_DATA(control), sizeof number);
  return Fd(number);
}

const char* refusal(Errc code) {
  switch (code) {
    case Errc::kExhausted:
      return "the host's pool has too few free frames, or this user's share or grants are used up";
    case Errc::kPermission:
      return "the ledger does not allow that";
    case Errc::kNotFound:
      return "the daemon has no such pool, partition or grant";
    case Errc::kUnsupported:
      return "the daemon speaks another version of the protocol";
    case Errc::kBusy:
      return "the daemon is ending, and gives no more frames";
    default:
      return "the daemon refused the request";
  }
}

Result<void> wants_no_more(const ByteReader& reader) {
  if (reader.empty()) return {};
  return Error{Errc::kMalformed, 0, "an answer of the daemon is too long"};
}

}  // namespace

Result<std::unique_ptr<DaemonFrames>> DaemonFrames::connect(Options options) {
  if (!ledger::is_partition_name(options.name)) {
    return Error{Errc::kInvalidArgument, 0, "the partition has an impossible name"};
  }
  std::unique_ptr<DaemonFrames> frames(new DaemonFrames(std::move(options)));
  MutexLock lock(frames->lock_);
  TRY(frames->connect_and_enter());
  return frames;
}

Result<void> DaemonFrames::connect_and_enter() {
  connection_ = TRY(connect_to(options_.socket_path));
  Writer hello(static_cast<std::uint32_t>(Request::kHello), 0);
  hello.put(daemon::kProtocolVersion).put(std::uint32_t{0});
  TRY(send(hello));
  TRY(receive());
  return enter();
}

// What this partition does not name here, the daemon takes back: it was on its way to us when one
// of the two was lost.
Result<void> DaemonFrames::enter() {
  Writer request(static_cast<std::uint32_t>(Request::kEnter), 0);
  request.put_text(options_.name, daemon::kNameBytes);
  request.put(static_cast<std::uint32_t>(held_.size())).put(std::uint32_t{0});
  for (const FrameRun& run : held_) request.put(run);
  TRY(send(request));
  const Answer answer = TRY(receive());
  ByteReader reader(answer.body);
  const auto slot = TRY(reader.read<std::uint32_t>());
  const auto generation = TRY(reader.read<std::uint32_t>());
  if (slot >= ledger::kMaxPartitions) return Error{Errc::kMalformed, 0, "an impossible partition"};
  partition_ = {static_cast<std::uint16_t>(slot), generation};
  return wants_no_more(reader);
}

Result<void> DaemonFrames::reconnect() {
  connection_.reset();
  Result<void> done = connect_and_enter();
  for (int waited = 0; !done && waited < options_.reconnect_ms; waited += kRetryMs) {
    const Errc code = done.error().code;
    if (code != Errc::kNotFound && code != Errc::kClosed) break;
    sleep_ms(kRetryMs);
    done = connect_and_enter();
  }
  if (!done) connection_.reset();
  return done;
}

Result<void> DaemonFrames::send(const Writer& request) const {
  const auto bytes = request.bytes();
  const ssize_t sent = ::send(connection_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(bytes.size())) return {};
  return Error{Errc::kClosed, errno, "the connection to bulkheadd is lost"};
}

Result<DaemonFrames::Answer> DaemonFrames::receive() const {
  std::vector<std::byte> bytes(daemon::kMaxReply);
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return Error{Errc::kTimeout, 0, "bulkheadd does not answer"};
  if (got <= 0) return Error{Errc::kClosed, errno, "bulkheadd went away before it answered"};
  Answer answer{.body = {}, .file = take_descriptor(message)};
  bytes.resize(static_cast<std::size_t>(got));
  ByteReader reader(bytes);
  const auto status = TRY(reader.read<std::uint32_t>());
  TRY(reader.skip(sizeof(std::uint32_t)));
  const auto rest = TRY(reader.take(reader.remaining()));
  if (status == 0) {
    answer.body.assign(rest.begin(), rest.end());
    return answer;
  }
  std::string text(rest.size(), '\0');
  std::memcpy(text.data(), rest.data(), rest.size());
  log_warning("daemon-refused", {{"reason", text.c_str()}});
  const Errc code = daemon::errc_of(status);
  return Error{code, 0, refusal(code)};
}

Result<DaemonFrames::Answer> DaemonFrames::call(const Writer& request, Repeat repeat) {
  MutexLock lock(lock_);
  return call_locked(request, repeat);
}

// A request that could not be sent was not done, and can be repeated. One that was sent can only if
// doing it twice is no harm.
Result<DaemonFrames::Answer> DaemonFrames::call_locked(const Writer& request, Repeat repeat) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (!connection_.valid()) TRY(reconnect());
    if (Result<void> sent = send(request); !sent) {
      connection_.reset();
      continue;
    }
    Result<Answer> answer = receive();
    if (answer) return answer;
    const Errc code = answer.error().code;
    if (code == Errc::kClosed || code == Errc::kTimeout) connection_.reset();
    if (code != Errc::kClosed || repeat == Repeat::kNo) return answer;
  }
  return Error{Errc::kClosed, 0, "bulkheadd goes away again and again"};
}

Result<Extent> DaemonFrames::take(std::uint64_t frames) {
  MutexLock lock(lock_);
  return take_locked(frames);
}

// Repeated after a restart: the daemon has taken back what we did not hear of (enter).
Result<Extent> DaemonFrames::take_locked(std::uint64_t frames) {
  if (held_.size() >= daemon::kMaxExtents) {
    return Error{Errc::kExhausted, 0, "the partition holds 4096 extents already"};
  }
  Writer request(static_cast<std::uint32_t>(Request::kTake), 0);
  request.put(frames).put(static_cast<std::uint32_t>(options_.backing));
  request.put(options_.numa_node ? static_cast<std::uint32_t>(*options_.numa_node)
                                 : ledger::kNoNode);
  Answer answer = TRY(call_locked(request, Repeat::kYes));
  ByteReader reader(answer.body);
  const FrameRun run = TRY(daemon::read_run(reader));
  const auto backing = TRY(reader.read<std::uint32_t>());
  TRY(reader.skip(sizeof(std::uint32_t)));
  const auto offset = TRY(reader.read<std::uint64_t>());
  TRY(wants_no_more(reader));
  if (!answer.file.valid() || run.frames == 0 || run.frames > frames ||
      backing != static_cast<std::uint32_t>(options_.backing)) {
    return Error{Errc::kMalformed, 0, "the daemon's answer is not what was asked for"};
  }
  held_.push_back(run);
  return Extent{.first = run.first,
                .frames = run.frames,
                .backing = options_.backing,
                .file = std::move(answer.file),
                .file_offset = offset};
}

// Forgotten first: whatever becomes of the connection, the daemon takes the run back.
void DaemonFrames::give_back(Extent extent) {
  const FrameRun run{extent.first, extent.frames};
  extent.file.reset();
  MutexLock lock(lock_);
  std::erase(held_, run);
  Writer request(static_cast<std::uint32_t>(Request::kGiveBack), 0);
  request.put(run);
  if (!connection_.valid()) {
    if (auto again = reconnect(); !again) log_failure("frames-not-given-back", again.error());
    return;
  }
  const bool sent = send(request).has_value();
  const Result<Answer> answer = sent ? receive() : Result<Answer>(Error{Errc::kClosed, 0, ""});
  if (answer) return;
  if (answer.error().code == Errc::kClosed) return connection_.reset();
  log_failure("frames-not-given-back", answer.error());
}

Result<void> DaemonFrames::run_request(Request kind, FrameRun run) {
  Writer request(static_cast<std::uint32_t>(kind), 0);
  request.put(run);
  TRY(call(request, Repeat::kNo));
  return {};
}

Result<void> DaemonFrames::seal(FrameRun run) {
  return run_request(Request::kSeal, run);
}

Result<void> DaemonFrames::unseal(FrameRun run) {
  return run_request(Request::kUnseal, run);
}

Result<void> DaemonFrames::place(FrameRun run, Gpa first) {
  Writer request(static_cast<std::uint32_t>(Request::kPlace), 0);
  request.put(run).put(first.value() / kFrameSize);
  TRY(call(request, Repeat::kNo));
  return {};
}

// Of what this partition holds, the runs that it does not share.
Result<std::vector<FrameRun>> DaemonFrames::owned() {
  const LedgerView view = TRY(snapshot());
  std::vector<FrameRun> runs;
  MutexLock lock(lock_);
  for (const FrameRun& held : held_) {
    if (!range_fits(held.first.value(), held.frames, view.frames())) {
      return Error{Errc::kMalformed, 0, "the ledger lacks frames of this partition"};
    }
    for (FrameIndex at = held.first; at < held.end(); at = at + 1) {
      if (view.frame(at).state != FrameState::kOwned) continue;
      if (runs.empty() || runs.back().end() != at) runs.push_back({at, 0});
      ++runs.back().frames;
    }
  }
  return runs;
}

Result<void> DaemonFrames::note_sealed(bool sealed) {
  const std::vector<FrameRun> runs = sealed ? TRY(owned()) : std::exchange(sealed_, {});
  Result<void> result;
  for (const FrameRun& run : runs) {
    const Result<void> noted = sealed ? seal(run) : unseal(run);
    if (!noted) result = noted;
    if (noted && sealed) sealed_.push_back(run);
  }
  return result;
}

Result<LedgerNote> DaemonFrames::note_shared(const SharedPages& pages) {
  const unsigned rights = (pages.read ? static_cast<unsigned>(Rights::kRead) : 0U) |
                          (pages.write ? static_cast<unsigned>(Rights::kWrite) : 0U);
  if (rights == 0) return Error{Errc::kInvalidArgument, 0, "a grant without rights"};
  const GrantId id = TRY(grant({.grantee = std::nullopt,
                                .pages = {PageIndex(pages.first_page), pages.pages},
                                .rights = static_cast<Rights>(rights)}));
  return LedgerNote(id.value());
}

Result<void> DaemonFrames::note_unshared(LedgerNote note) {
  return revoke(GrantId(note.value()));
}

Result<GrantId> DaemonFrames::grant(const GrantRequest& wanted) {
  Writer request(static_cast<std::uint32_t>(Request::kGrant), 0);
  request.put(wanted.pages.first.value()).put(wanted.pages.pages);
  request.put(wanted.grantee ? std::uint32_t{wanted.grantee->slot} : daemon::kToHostTools);
  request.put(wanted.grantee ? wanted.grantee->generation : 0U);
  request.put(static_cast<std::uint32_t>(wanted.rights)).put(std::uint32_t{0});
  const Answer answer = TRY(call(request, Repeat::kNo));
  ByteReader reader(answer.body);
  return GrantId(TRY(reader.read<std::uint64_t>()));
}

Result<void> DaemonFrames::revoke(GrantId grant) {
  Writer request(static_cast<std::uint32_t>(Request::kRevoke), 0);
  request.put(grant.value());
  TRY(call(request, Repeat::kNo));
  return {};
}

Result<LedgerView> DaemonFrames::snapshot() {
  const Writer request(static_cast<std::uint32_t>(Request::kSnapshot), 0);
  const Answer answer = TRY(call(request, Repeat::kYes));
  return LedgerView::read(answer.file.get());
}

Result<std::vector<DaemonPool>> DaemonFrames::pools() {
  const Writer request(static_cast<std::uint32_t>(Request::kPools), 0);
  const Answer answer = TRY(call(request, Repeat::kYes));
  ByteReader reader(answer.body);
  const auto count = TRY(reader.read<std::uint32_t>());
  TRY(reader.skip(sizeof(std::uint32_t)));
  if (count > ledger::kMaxPools) return Error{Errc::kMalformed, 0, "too many pools"};
  std::vector<DaemonPool> pools(count);
  for (DaemonPool& pool : pools) {
    pool.backing = static_cast<Backing>(TRY(reader.read<std::uint32_t>()));
    const auto node = TRY(reader.read<std::uint32_t>());
    if (node != ledger::kNoNode) pool.numa_node = node;
    pool.frames = TRY(reader.read<std::uint64_t>());
    pool.free_frames = TRY(reader.read<std::uint64_t>());
  }
  return pools;
}

PartitionId DaemonFrames::partition() const {
  MutexLock lock(lock_);
  return partition_;
}

}  // namespace bulkhead
