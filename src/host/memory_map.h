// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "host/memory_audit.h"
#include "host/memory_layout.h"

namespace bulkhead::host {

// What a page is used for. Numbers from kFirstPartition on are partitions.
using MemoryUse = std::uint32_t;
inline constexpr MemoryUse kNotRam = 0;
inline constexpr MemoryUse kReservedByFirmware = 1;
inline constexpr MemoryUse kUsedByHost = 2;
inline constexpr MemoryUse kFreeMemory = 3;
inline constexpr MemoryUse kCarvedUnowned = 4;  // withheld from the host kernel, nobody's
inline constexpr MemoryUse kPoolUnowned = 5;  // scrubbed or being scrubbed, of a pool of the ledger
inline constexpr MemoryUse kFirstPartition = 6;

// The machine's physical memory in cells of equal size, rows of them by address.
struct MemoryMap {
  // Uses and how many bytes each has, largest use first.
  using Cell = std::vector<std::pair<MemoryUse, std::uint64_t>>;
  struct Row {
    std::uint64_t address = 0;  // a multiple of the row's size
    std::optional<unsigned> node;
    std::vector<Cell> cells;
  };

  std::uint64_t cell_bytes = kFrameSize;
  std::size_t columns = 64;
  std::vector<Row> rows;              // without those that have no memory
  std::vector<std::uint64_t> totals;  // bytes by use
  bool estimated = false;             // of large machines only some pages were looked at

  std::uint64_t row_bytes() const { return cell_bytes * columns; }
};

struct MapSize {
  std::size_t columns = 64;
  std::size_t max_rows = 64;
};

// A cell is 2 MiB, or as many times that as it takes to fit.
Result<MemoryMap> map_memory(const Root& root, const AuditInput& input,
                             const PhysicalLayout& layout, const MapSize& size);

}  // namespace bulkhead::host
