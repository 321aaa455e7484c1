// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/fd.h"
#include "cli/partition_config.h"

namespace bulkhead::cli {

struct NetSetup {
  Fd fd;  // as NetSpec::fd
  unsigned mtu = 1500;
};

// Attaches to an existing TAP interface. Throws UsageError.
NetSetup open_tap(const std::string& interface);

// Starts passt(1) for one interface, in the background, as an unprivileged process of its own that
// ends when the other end of its socket is closed: with the monitor, however that ends. Throws
// UsageError when it is not installed, and HostError when it does not start.
NetSetup start_passt(const NetRequest& request);

// An address that stays the same from run to run, and differs between hosts, names and interfaces.
MacAddress make_mac(const std::string& partition, std::size_t index);

}  // namespace bulkhead::cli
