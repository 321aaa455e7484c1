// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace bulkhead::daemon {

// A process that cannot be mistaken for a later one with the same number.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  Fd pidfd;                      // readable when the process has ended
};

// kNotFound when it is dead, or already waits for its parent.
Result<ProcessIdentity> identify_process(pid_t pid);

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  ProcessIdentity process;
};

// Who connected, as the kernel has it.
Result<Peer> identify_peer(int connection);

// Root, and members of the group. Without a group: root and ourselves.
bool may_connect(const Peer& peer, std::optional<gid_t> group);

}  // namespace bulkhead::daemon
