// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/runtime_dir.h"
#include "host/memory_audit.h"
#include "host/root.h"
#include "mem/ledger_view.h"

// Who owns which memory, from the daemon's ledger or, without a daemon, from the monitors.

namespace bulkhead::cli {

// Bytes by host::MemoryState.
struct MemoryTotals {
  std::array<std::uint64_t, 5> bytes{};

  std::uint64_t& of(host::MemoryState state) { return bytes[static_cast<std::size_t>(state)]; }
  std::uint64_t of(host::MemoryState state) const { return bytes[static_cast<std::size_t>(state)]; }
};

struct PoolMemory {
  Backing backing = Backing::kMemfd;
  std::optional<unsigned> node;
  std::uint64_t size_bytes = 0;
  MemoryTotals totals;
};

struct HostMemory {
  bool whole_host = false;  // a daemon keeps one ledger of all
  std::vector<PoolMemory> pools;
  std::vector<MemoryTotals> partitions;  // beside those of `audit`
  host::AuditInput audit;
};

// Where the files of a pool lie, below the daemon's runtime directory.
std::string pool_directory(const std::string& runtime, const PoolRecord& pool);

// What the daemon's ledger says. Throws HostError when a file that it names cannot be found.
HostMemory memory_of_ledger(const LedgerView& view, const host::Root& root,
                            const std::string& runtime);
// What all running monitors map. Needs root; throws HostError.
HostMemory memory_of_monitors(const host::Root& root, const std::string& runtime);
// The caller's own partitions, as they tell themselves: for users who are not root.
HostMemory memory_of_own_partitions(const RuntimeDir& runtime);

const char* to_string(Backing backing);

}  // namespace bulkhead::cli
