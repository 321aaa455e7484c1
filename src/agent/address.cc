// SPDX-License-Identifier: Apache-2.0
#include "agent/address.h"

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace bulkhead::agent {
namespace {

Error no_address() {
  return Error{Errc::kInvalidArgument, 0,
               "no address of a broker: tcp:192.0.2.1:8443, tcp:[2001:db8::1]:8443 (numbers, no "
               "names), or vsock:2:8443"};
}

template <class T>
Result<T> parse_number(std::string_view text, T least) {
  T number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number < least) {
    return no_address();
  }
  return number;
}

struct HostAndPort {
  std::string_view host;
  std::string_view port;
};
Result<HostAndPort> split(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return no_address();
  return HostAndPort{text.substr(0, colon), text.substr(colon + 1)};
}

template <class T>
BrokerAddress address_of(const T& raw, std::string host) {
  static_assert(sizeof raw <= sizeof(sockaddr_storage));
  BrokerAddress address{.host = std::move(host)};
  std::memcpy(&address.storage, &raw, sizeof raw);
  address.size = sizeof raw;
  return address;
}

Result<BrokerAddress> parse_tcp(std::string_view text) {
  const HostAndPort parts = TRY(split(text));
  const std::uint16_t port = htons(TRY(parse_number<std::uint16_t>(parts.port, 1)));
  std::string host(parts.host);
  sockaddr_in v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = port;
    return address_of(v4, std::move(host));
  }
  if (!host.starts_with('[') || !host.ends_with(']')) return no_address();
  host = host.substr(1, host.size() - 2);
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return no_address();
  v6.sin6_family = AF_INET6;
  v6.sin6_port = port;
  return address_of(v6, std::move(host));
}

Result<BrokerAddress> parse_vsock(std::string_view text) {
  const HostAndPort parts = TRY(split(text));
  sockaddr_vm vm{};
  vm.svm_family = AF_VSOCK;
  vm.svm_cid = TRY(parse_number<std::uint32_t>(parts.host, 1));
  vm.svm_port = TRY(parse_number<std::uint32_t>(parts.port, 1));
  return address_of(vm, "");
}

Result<void> outcome_of_connect(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return os_error(error, "cannot connect to the broker");
  return {};
}

}  // namespace

Result<BrokerAddress> parse_address(std::string_view text) {
  constexpr std::string_view kTcp = "tcp:";
  constexpr std::string_view kVsock = "vsock:";
  if (text.starts_with(kTcp)) return parse_tcp(text.substr(kTcp.size()));
  if (text.starts_with(kVsock)) return parse_vsock(text.substr(kVsock.size()));
  return no_address();
}

Result<void> await_ready(int fd, short events, const Deadline& deadline) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  while (true) {
    const int ready = ::poll(&entry, 1, static_cast<int>(deadline.remaining().count()));
    if (ready > 0) return {};
    if (ready == 0) return Error{Errc::kTimeout, 0, "the broker does not answer in time"};
    if (errno != EINTR) return os_error("cannot wait for the broker");
  }
}

Result<Fd> connect_to(const BrokerAddress& address, const Deadline& deadline) {
  Fd socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return os_error("no socket for the broker's address");
  const auto* raw = static_cast<const sockaddr*>(static_cast<const void*>(&address.storage));
  if (::connect(socket.get(), raw, address.size) == 0) return socket;
  if (errno != EINPROGRESS) return os_error("cannot connect to the broker");
  TRY(await_ready(socket.get(), POLLOUT, deadline));
  TRY(outcome_of_connect(socket.get()));
  return socket;
}

}  // namespace bulkhead::agent
