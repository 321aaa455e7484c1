// SPDX-License-Identifier: Apache-2.0
#include "host/memory_map.h"

#include <algorithm>
#include <array>

namespace bulkhead::host {
namespace {

constexpr std::uint64_t kPagesPerFrame = kFrameSize / kPageSize;
// The flags of so many frames are read at most (64 GiB); above that, of every n-th.
constexpr std::uint64_t kMaxFramesLookedAt = 32 * 1024;

bool is_memory(const PhysicalRange& range) {
  return range.kind != RangeKind::kReserved;
}

// Rows that hold some memory.
std::vector<std::uint64_t> row_addresses(const PhysicalLayout& layout, std::uint64_t row_bytes) {
  std::vector<std::uint64_t> rows;
  for (const PhysicalRange& range : layout.ranges) {
    if (!is_memory(range)) continue;
    for (std::uint64_t row = range.start / row_bytes; row <= (range.end - 1) / row_bytes; ++row) {
      if (rows.empty() || rows.back() < row * row_bytes) rows.push_back(row * row_bytes);
    }
  }
  return rows;
}

// A machine's addresses end below 2^52: this ends.
std::uint64_t fitting_cell(const PhysicalLayout& layout, const MapSize& size) {
  std::uint64_t cell = kFrameSize;
  const auto rows_needed = [&] {
    // First by the size alone, so that a huge machine's rows are never listed at 2 MiB.
    const std::uint64_t least = layout.ram_bytes() / (cell * size.columns);
    return least > size.max_rows ? least : row_addresses(layout, cell * size.columns).size();
  };
  while (rows_needed() > size.max_rows && cell < UINT64_MAX / (4 * size.columns)) cell *= 2;
  return cell;
}

class Mapper {
 public:
  Mapper(const PhysicalLayout& layout, LocatedMemory located, PageArray flags, MemoryMap map)
      : layout_(layout),
        located_(std::move(located)),
        flags_(std::move(flags)),
        map_(std::move(map)) {
    frame_step_ = std::max<std::uint64_t>(
        1, (layout.ram_bytes() / kFrameSize + kMaxFramesLookedAt - 1) / kMaxFramesLookedAt);
    map_.estimated = frame_step_ > 1;
  }

  MemoryMap run(std::size_t uses) {
    map_.totals.assign(uses, 0);
    for (MemoryMap::Row& row : map_.rows) {
      row.cells.resize(map_.columns);
      for (std::size_t column = 0; column < map_.columns; ++column) {
        row.cells[column] = cell(row.address + column * map_.cell_bytes);
      }
    }
    return std::move(map_);
  }

 private:
  MemoryMap::Cell cell(std::uint64_t address) {
    std::vector<std::uint64_t> bytes(map_.totals.size());
    for (std::uint64_t at = 0; at < map_.cell_bytes; at += kFrameSize) {
      count_frame(address + at, bytes);
    }
    MemoryMap::Cell cell;
    for (MemoryUse use = 0; use < bytes.size(); ++use) {
      map_.totals[use] += bytes[use];
      if (bytes[use] != 0) cell.emplace_back(use, bytes[use]);
    }
    std::ranges::sort(cell, [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    return cell;
  }

  void count_frame(std::uint64_t address, std::vector<std::uint64_t>& bytes) {
    bool any = false;
    const PhysicalRange* range = nullptr;
    for (std::uint64_t page = 0; page < kPagesPerFrame; ++page) {
      const std::uint64_t at = address + page * kPageSize;
      if (range == nullptr || at >= range->end) range = range_of(at);
      if (range == nullptr) {
        bytes[kNotRam] += kPageSize;
        continue;
      }
      if (!any && is_memory(*range)) {
        read_flags(address);
        any = true;
      }
      bytes[use_of(*range, Pfn(address / kPageSize + page), frame_flags_[page])] += kPageSize;
    }
  }

  MemoryUse use_of(const PhysicalRange& range, Pfn pfn, std::uint64_t flags) {
    const OwnerId owner = located_.pages.owner(pfn);
    if (owner != kNotWatched) {
      const std::size_t partition = located_.partition_of[owner];
      if (partition != kNoPartition) return kFirstPartition + static_cast<MemoryUse>(partition);
      return range.kind == RangeKind::kCarved ? kCarvedUnowned : kPoolUnowned;
    }
    if (range.kind == RangeKind::kCarved) return kCarvedUnowned;
    if (range.kind == RangeKind::kReserved || (flags & kPageFlagNoPage) != 0) {
      return kReservedByFirmware;
    }
    return (flags & kPageFlagBuddy) != 0 ? kFreeMemory : kUsedByHost;
  }

  // Of a frame that is left out, those of the frame before stand for it.
  void read_flags(std::uint64_t address) {
    if (frames_seen_++ % frame_step_ != 0) return;
    frame_flags_.fill(0);
    [[maybe_unused]] const auto read = flags_.read(Pfn(address / kPageSize), frame_flags_);
  }

  // Addresses come in ascending order.
  const PhysicalRange* range_of(std::uint64_t address) {
    while (next_range_ < layout_.ranges.size() && layout_.ranges[next_range_].end <= address) {
      ++next_range_;
    }
    if (next_range_ == layout_.ranges.size()) return nullptr;
    const PhysicalRange& range = layout_.ranges[next_range_];
    return range.start <= address ? &range : nullptr;
  }

  const PhysicalLayout& layout_;
  LocatedMemory located_;
  PageArray flags_;
  MemoryMap map_;
  std::uint64_t frame_step_ = 1;
  std::uint64_t frames_seen_ = 0;
  std::size_t next_range_ = 0;
  std::array<std::uint64_t, kPagesPerFrame> frame_flags_{};
};

}  // namespace

Result<MemoryMap> map_memory(const Root& root, const AuditInput& input,
                             const PhysicalLayout& layout, const MapSize& size) {
  MemoryMap map;
  map.columns = size.columns;
  map.cell_bytes = fitting_cell(layout, size);
  for (const std::uint64_t address : row_addresses(layout, map.row_bytes())) {
    map.rows.push_back({.address = address, .node = layout.node_of(address), .cells = {}});
  }
  PageArray flags = TRY(PageArray::open(root, "/proc/kpageflags"));
  LocatedMemory located = TRY(locate_memory(root, input));
  return Mapper(layout, std::move(located), std::move(flags), std::move(map))
      .run(kFirstPartition + input.partitions.size());
}

}  // namespace bulkhead::host
