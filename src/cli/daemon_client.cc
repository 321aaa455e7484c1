// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/error.h"
#include "mem/daemon_protocol.h"

namespace bulkhead::cli {
namespace {

constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

// One packet each: a request's kind or an answer's status, a serial number, and what belongs to it.
constexpr std::array<std::uint32_t, 4> kHello{std::uint32_t(daemon::Request::kHello), 1,
                                              daemon::kProtocolVersion, 0};
constexpr std::array<std::uint32_t, 2> kSnapshot{std::uint32_t(daemon::Request::kSnapshot), 2};

struct Answer {
  std::uint32_t status = UINT32_MAX;  // 0: done
  std::uint32_t serial = 0;
  std::string text;
  Fd file;
};

Fd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw HostError("the path of the daemon's socket is too long: '" + path + "'");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::connect(fd.get(), generic, sizeof address) == 0) return fd;
  if (errno == ENOENT || errno == ECONNREFUSED) return Fd();
  throw HostError("cannot reach bulkheadd at '" + path + "': " + errno_text(errno));
}

Fd descriptor_of(msghdr& message) {
  Fd file;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header), sizeof number);
    file = Fd(number);
  }
  return file;
}

Answer receive(const Fd& connection) {
  std::array<char, daemon::kMaxReply> bytes{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC);
  if (got < 0) return {};
  Answer answer;
  answer.file = descriptor_of(message);
  constexpr ssize_t kHeader = sizeof answer.status + sizeof answer.serial;
  if (got < kHeader) return answer;
  std::memcpy(&answer.status, bytes.data(), sizeof answer.status);
  std::memcpy(&answer.serial, bytes.data() + sizeof answer.status, sizeof answer.serial);
  answer.text.assign(bytes.data() + kHeader, static_cast<std::size_t>(got - kHeader));
  return answer;
}

template <std::size_t N>
Answer ask(const Fd& connection, const std::array<std::uint32_t, N>& request) {
  if (::send(connection.get(), request.data(), sizeof request, MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof request)) {
    throw HostError("bulkheadd does not take requests; is it running?");
  }
  Answer answer = receive(connection);
  if (answer.status == 0 && answer.serial == request[1]) return answer;
  const std::string why = answer.status == UINT32_MAX ? "no answer" : answer.text;
  throw HostError("bulkheadd gives no ledger: " + why.substr(0, why.find('\0')));
}

}  // namespace

std::string daemon_socket() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  const char* own = std::getenv("BULKHEAD_DAEMON_SOCKET");
  return own != nullptr && *own == '/' ? own : daemon::kDefaultSocket;
}

std::optional<DaemonSnapshot> ask_daemon(const std::string& socket) {
  const Fd connection = connect_to(socket);
  if (!connection.valid()) return std::nullopt;
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ucred peer{};
  socklen_t length = sizeof peer;
  ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length);
  ask(connection, kHello);
  const Answer answer = ask(connection, kSnapshot);
  if (!answer.file.valid()) throw HostError("bulkheadd gives no ledger: no file came with it");
  auto view = LedgerView::read(answer.file.get());
  if (!view) throw HostError(std::string("bulkheadd's ledger is damaged: ") + view.error().what);
  return DaemonSnapshot{.view = std::move(*view), .daemon = peer.pid};
}

}  // namespace bulkhead::cli
