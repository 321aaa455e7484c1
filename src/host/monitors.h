// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "host/memory_audit.h"

namespace bulkhead::host {

// A running monitor, and the guest memory that its page tables have a place for.
struct Monitor {
  pid_t pid = 0;
  uid_t uid = 0;
  std::vector<AuditRegion> regions = {};  // without an owner

  std::uint64_t size_bytes() const;
};

// Every bulkhead-vmm that runs. `pool_directory`: where memory files of the host's pool lie. An
// Error for page tables that the caller may not read; a monitor that has ended is left out.
Result<std::vector<Monitor>> find_monitors(const Root& root, std::string_view pool_directory);

}  // namespace bulkhead::host
