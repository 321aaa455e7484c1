// SPDX-License-Identifier: Apache-2.0
#include "mem/daemon_frames.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace bulkhead {

using daemon::Answer;
using daemon::Connection;
using daemon::Request;

namespace {

constexpr int kAnswerSeconds = 120;  // a daemon may have much to allocate
constexpr int kRetryMs = 20;
constexpr int kMaxAttempts = 16;

using Body = daemon::MessageWriter<32>;  // of any request but enter
using EnterBody = daemon::MessageWriter<daemon::kMaxRequest - daemon::kHeaderBytes>;

void sleep_ms(int milliseconds) {
  const timespec time{.tv_sec = milliseconds / 1000,
                      .tv_nsec = static_cast<long>(milliseconds % 1000) * 1'000'000};
  ::nanosleep(&time, nullptr);
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
  connection_ = TRY(Connection::open(options_.socket_path, kAnswerSeconds));
  return enter();
}

// What this partition does not name here, the daemon takes back: it was on its way to us when one
// of the two was lost.
Result<void> DaemonFrames::enter() {
  EnterBody body;
  body.put_text(options_.name, daemon::kNameBytes);
  body.put(static_cast<std::uint32_t>(held_.size())).put(std::uint32_t{0});
  for (const FrameRun& run : held_) body.put(run);
  const Answer answer = TRY(connection_.ask(Request::kEnter, body.bytes()));
  ByteReader reader(answer.body);
  const auto slot = TRY(reader.read<std::uint32_t>());
  const auto generation = TRY(reader.read<std::uint32_t>());
  if (slot >= ledger::kMaxPartitions) return Error{Errc::kMalformed, 0, "an impossible partition"};
  partition_ = {static_cast<std::uint16_t>(slot), generation};
  return wants_no_more(reader);
}

Result<void> DaemonFrames::reconnect() {
  connection_.close();
  Result<void> done = connect_and_enter();
  for (int waited = 0; !done && waited < options_.reconnect_ms; waited += kRetryMs) {
    const Errc code = done.error().code;
    if (code != Errc::kNotFound && code != Errc::kClosed) break;
    sleep_ms(kRetryMs);
    done = connect_and_enter();
  }
  if (!done) connection_.close();
  return done;
}

// A request that could not be sent was not done, and can be repeated. One that was sent can only if
// doing it twice is no harm.
Result<Answer> DaemonFrames::call(Request request, Bytes body, Repeat repeat) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (!connection_.valid()) TRY(reconnect());
    if (!connection_.send(request, body)) continue;
    Result<Answer> answer = connection_.receive();
    if (answer || answer.error().code != Errc::kClosed || repeat == Repeat::kNo) return answer;
  }
  return Error{Errc::kClosed, 0, "bulkheadd goes away again and again"};
}

Result<Answer> DaemonFrames::call_once(Request request, Bytes body) {
  MutexLock lock(lock_);
  return call(request, body, Repeat::kNo);
}

// Repeated after a restart: the daemon has taken back what we did not hear of (enter).
Result<Extent> DaemonFrames::take(std::uint64_t frames) {
  MutexLock lock(lock_);
  if (held_.size() >= daemon::kMaxExtents) {
    return Error{Errc::kExhausted, 0, "the partition holds 4096 extents already"};
  }
  Body body;
  body.put(frames).put(static_cast<std::uint32_t>(options_.backing));
  body.put(options_.numa_node ? static_cast<std::uint32_t>(*options_.numa_node) : ledger::kNoNode);
  Answer answer = TRY(call(Request::kTake, body.bytes(), Repeat::kYes));
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
  if (!connection_.valid()) {
    if (auto again = reconnect(); !again) log_failure("frames-not-given-back", again.error());
    return;
  }
  const Result<Answer> answer = connection_.ask(Request::kGiveBack, Body().put(run).bytes());
  if (answer || answer.error().code == Errc::kClosed) return;
  log_failure("frames-not-given-back", answer.error());
}

Result<void> DaemonFrames::seal(FrameRun run) {
  TRY(call_once(Request::kSeal, Body().put(run).bytes()));
  return {};
}

Result<void> DaemonFrames::unseal(FrameRun run) {
  TRY(call_once(Request::kUnseal, Body().put(run).bytes()));
  return {};
}

Result<void> DaemonFrames::place(FrameRun run, Gpa first) {
  TRY(call_once(Request::kPlace, Body().put(run).put(first.value() / kFrameSize).bytes()));
  return {};
}

// Of what this partition holds, the runs that it does not share.
Result<std::vector<FrameRun>> DaemonFrames::owned() {
  MutexLock lock(lock_);
  const Answer answer = TRY(call(Request::kSnapshot, {}, Repeat::kYes));
  const LedgerView view = TRY(LedgerView::read(answer.file.get()));
  std::vector<FrameRun> runs;
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

Result<GrantId> DaemonFrames::note_shared(PageRun pages, Rights of_tools) {
  return grant({.grantee = std::nullopt, .pages = pages, .rights = of_tools});
}

Result<GrantId> DaemonFrames::grant(const GrantRequest& wanted) {
  Body body;
  body.put(wanted.pages.first.value()).put(wanted.pages.count);
  body.put(wanted.grantee ? std::uint32_t{wanted.grantee->slot} : daemon::kToHostTools);
  body.put(wanted.grantee ? wanted.grantee->generation : 0U);
  body.put(static_cast<std::uint32_t>(wanted.rights)).put(std::uint32_t{0});
  const Answer answer = TRY(call_once(Request::kGrant, body.bytes()));
  ByteReader reader(answer.body);
  return GrantId(TRY(reader.read<std::uint64_t>()));
}

Result<void> DaemonFrames::revoke(GrantId grant) {
  TRY(call_once(Request::kRevoke, Body().put(grant.value()).bytes()));
  return {};
}

PartitionId DaemonFrames::partition() const {
  MutexLock lock(lock_);
  return partition_;
}

}  // namespace bulkhead
