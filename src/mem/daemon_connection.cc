// SPDX-License-Identifier: Apache-2.0
#include "mem/daemon_connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace bulkhead::daemon {
namespace {

Error no_daemon(int error_number) {
  return Error{Errc::kNotFound, error_number, "no bulkheadd answers: start it, or run without it"};
}

Error no_answer() {
  return Error{Errc::kTimeout, 0, "bulkheadd does not answer"};
}

Result<Fd> connect_to(const std::string& path, int patience_s) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{Errc::kInvalidArgument, 0, "the path of the daemon's socket is too long"};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd connection(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!connection.valid()) return os_error("cannot create a socket");
  const timeval patience{.tv_sec = patience_s, .tv_usec = 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::connect(connection.get(), generic, sizeof address) == 0) return connection;
  if (errno == ENOENT || errno == ECONNREFUSED) return no_daemon(errno);
  if (errno == EAGAIN) return no_answer();
  return os_error("cannot connect to bulkheadd: are you root or in its group?");
}

ucred peer_of(int socket) {
  ucred peer{.pid = 0, .uid = ~0U, .gid = ~0U};
  socklen_t length = sizeof peer;
  ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length);
  return peer;
}

ssize_t send_packet(int socket, std::span<const std::byte> bytes, int file) {
  if (file < 0) return ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = copy.data(), .iov_len = copy.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &file, sizeof file);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL);
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

// A packet, which may be a part of an answer only.
Result<Answer> receive_packet(int socket) {
  Answer packet{.body = std::vector<std::byte>(kMaxReply), .file = {}};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = packet.body.data(), .iov_len = packet.body.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return no_answer();
  if (got <= 0) return Error{Errc::kClosed, errno, "bulkheadd went away before it answered"};
  packet.body.resize(static_cast<std::size_t>(got));
  packet.file = take_descriptor(message);
  return packet;
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

// Three times a length and as many bytes.
Result<TpmCertificates> read_certificates(int file) {
  std::vector<std::byte> bytes(kMaxCertificatesFile);
  const ssize_t got = ::pread(file, bytes.data(), bytes.size(), 0);
  if (got < 0) return os_error("cannot read the certificates");
  bytes.resize(static_cast<std::size_t>(got));
  ByteReader reader(bytes);
  TpmCertificates certificates;
  for (auto* part :
       {&certificates.endorsement_key, &certificates.attestation_key, &certificates.chain}) {
    const auto content = TRY(reader.take(TRY(reader.read<std::uint32_t>())));
    part->assign(content.begin(), content.end());
  }
  if (reader.empty()) return certificates;
  return Error{Errc::kMalformed, 0, "bytes are left over behind the certificates"};
}

Error refused(std::uint32_t status, std::span<const std::byte> why) {
  std::string text(why.size(), '\0');
  std::memcpy(text.data(), why.data(), why.size());
  log_warning("daemon-refused", {{"reason", text.c_str()}});
  const Errc code = errc_of(status);
  return Error{code, 0, refusal(code)};
}

}  // namespace

Result<Connection> Connection::open(const std::string& path, int patience_s) {
  Connection connection(TRY(connect_to(path, patience_s)));
  MessageWriter<8> hello;
  hello.put(kProtocolVersion).put(std::uint32_t{0});
  TRY(connection.ask(Request::kHello, hello.bytes()));
  return connection;
}

pid_t Connection::daemon() const {
  return peer_of(socket_.get()).pid;
}

uid_t Connection::uid() const {
  return peer_of(socket_.get()).uid;
}

Result<void> Connection::send(Request request, std::span<const std::byte> body, int file) {
  MessageWriter<kMaxRequest> packet(static_cast<std::uint32_t>(request), ++serial_);
  packet.put(body);
  const auto bytes = packet.bytes();
  const ssize_t sent = send_packet(socket_.get(), bytes, file);
  if (sent == static_cast<ssize_t>(bytes.size())) return {};
  const Error lost{Errc::kClosed, errno, "the connection to bulkheadd is lost"};
  close();
  return lost;
}

Result<Answer> Connection::receive() {
  Result<Answer> answer = receive_packet(socket_.get());
  if (!answer || answer->body.size() < kHeaderBytes ||
      get_le<std::uint32_t>(answer->body, sizeof(std::uint32_t)) != serial_) {
    close();
  }
  if (!answer) return answer;
  if (!valid()) return Error{Errc::kMalformed, 0, "bulkheadd gave no answer to the request"};
  const auto status = get_le<std::uint32_t>(answer->body, 0);
  answer->body.erase(answer->body.begin(), answer->body.begin() + kHeaderBytes);
  if (status != 0) return refused(status, answer->body);
  return answer;
}

Result<Answer> Connection::ask(Request request, std::span<const std::byte> body) {
  TRY(send(request, body));
  return receive();
}

Result<LedgerView> Connection::snapshot() {
  const Answer answer = TRY(ask(Request::kSnapshot, {}));
  if (!answer.file.valid()) return Error{Errc::kMalformed, 0, "no ledger came with the answer"};
  return LedgerView::read(answer.file.get());
}

Result<TpmCertificates> Connection::certify(std::span<const std::byte> endorsement_key,
                                            std::span<const std::byte> attestation_key) {
  CHECK(std::max(endorsement_key.size(), attestation_key.size()) <= kMaxPublicArea);
  const Answer challenge = TRY(ask(Request::kChallenge, {}));
  if (challenge.body.size() != kNonceBytes) {
    return Error{Errc::kMalformed, 0, "bulkheadd's challenge has a wrong length"};
  }
  MessageWriter<kNonceBytes + 8 + 2 * kMaxPublicArea> body;
  body.put(std::span<const std::byte>(challenge.body));
  body.put(static_cast<std::uint32_t>(endorsement_key.size()));
  body.put(static_cast<std::uint32_t>(attestation_key.size()));
  body.put(endorsement_key).put(attestation_key);
  const Answer answer = TRY(ask(Request::kCertify, body.bytes()));
  if (!answer.file.valid()) return Error{Errc::kMalformed, 0, "no certificates came"};
  return read_certificates(answer.file.get());
}

Result<CounterValue> Connection::count(CounterAction action, std::uint32_t index,
                                       CounterPassword password) {
  MessageWriter<8 + kCounterPasswordBytes> body;
  body.put(static_cast<std::uint32_t>(action)).put(index).put(password);
  const Answer answer = TRY(ask(Request::kCount, body.bytes()));
  ByteReader reader(answer.body);
  CounterValue counter{.index = TRY(reader.read<std::uint32_t>())};
  TRY(reader.skip(sizeof(std::uint32_t)));
  counter.value = TRY(reader.read<std::uint64_t>());
  if (reader.empty()) return counter;
  return Error{Errc::kMalformed, 0, "bytes are left over behind a counter"};
}

Result<MeasuredFile> Connection::measure(int file, Copy copy) {
  MessageWriter<8> body;
  body.put(std::uint32_t{copy == Copy::kYes}).put(std::uint32_t{0});
  TRY(send(Request::kMeasure, body.bytes(), file));
  Answer answer = TRY(receive());
  MeasuredFile measured;
  ByteReader reader(answer.body);
  std::ranges::copy(TRY(reader.take(measured.digests.sha256.size())),
                    measured.digests.sha256.begin());
  std::ranges::copy(TRY(reader.take(measured.digests.sha384.size())),
                    measured.digests.sha384.begin());
  if (!reader.empty()) return Error{Errc::kMalformed, 0, "bytes are left over behind the digests"};
  measured.copy = std::move(answer.file);
  if (copy == Copy::kYes && ::fcntl(measured.copy.get(), F_GET_SEALS) != kCopySeals) {
    return Error{Errc::kPermission, 0, "a copy came that can be changed"};
  }
  return measured;
}

Result<std::vector<PoolStatus>> Connection::pools() {
  const Answer answer = TRY(ask(Request::kPools, {}));
  ByteReader reader(answer.body);
  const auto count = TRY(reader.read<std::uint32_t>());
  TRY(reader.skip(sizeof(std::uint32_t)));
  if (count > ledger::kMaxPools) return Error{Errc::kMalformed, 0, "too many pools"};
  std::vector<PoolStatus> pools(count);
  for (PoolStatus& pool : pools) {
    pool.backing = static_cast<Backing>(TRY(reader.read<std::uint32_t>()));
    const auto node = TRY(reader.read<std::uint32_t>());
    if (node != ledger::kNoNode) pool.numa_node = node;
    pool.frames = TRY(reader.read<std::uint64_t>());
    pool.free_frames = TRY(reader.read<std::uint64_t>());
  }
  return pools;
}

}  // namespace bulkhead::daemon
