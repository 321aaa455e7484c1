// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "agent/deadline.h"
#include "base/fd.h"

namespace bulkhead::agent {

// Where a broker listens. Never a name to look up: what answers such a question in a guest's
// network belongs to the operator, and a static program has no resolver.
struct BrokerAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  std::string host;  // of TCP: the numeric address, as certificates name it; empty for vsock
};

// "tcp:192.0.2.1:8443", "tcp:[2001:db8::1]:8443", "vsock:2:8443"
Result<BrokerAddress> parse_address(std::string_view text);

// A connected socket that does not block. kTimeout at the deadline.
Result<Fd> connect_to(const BrokerAddress& address, const Deadline& deadline);

// Waits until the descriptor is ready for these events of poll(2). kTimeout at the deadline.
Result<void> await_ready(int fd, short events, const Deadline& deadline);

}  // namespace bulkhead::agent
