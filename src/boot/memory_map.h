// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"

namespace bulkhead::boot {

// ACPI 6.5, table "Address Range Types": the same numbers in e820 and in PVH's memory map.
enum class MemoryType : std::uint32_t { kRam = 1, kReserved = 2 };

struct MemoryMapEntry {
  Gpa base;
  std::uint64_t size_bytes = 0;
  MemoryType type = MemoryType::kRam;

  bool operator==(const MemoryMapEntry&) const = default;
};

// What the guest's kernel is told about its physical memory: ascending, without overlap.
class MemoryMap {
 public:
  static constexpr std::size_t kCapacity = 8;

  // For a partition with so much RAM, which is at least 2 MiB.
  explicit MemoryMap(std::uint64_t ram_bytes);

  std::span<const MemoryMapEntry> entries() const { return {entries_.data(), count_}; }

 private:
  void add(MemoryMapEntry entry);

  std::array<MemoryMapEntry, kCapacity> entries_{};
  std::size_t count_ = 0;
};

}  // namespace bulkhead::boot
