// SPDX-License-Identifier: Apache-2.0
#include "boot/memory_map.h"

#include <algorithm>

#include "base/check.h"
#include "boot/layout.h"

namespace bulkhead::boot {

MemoryMap::MemoryMap(std::uint64_t ram_bytes) {
  CHECK(ram_bytes > kHighMemoryBase.value());
  const std::uint64_t low_end = std::min(ram_bytes, kLowRamLimit);
  add({Gpa{0}, kEbdaBase.value(), MemoryType::kRam});
  add({kEbdaBase, kHighMemoryBase - kEbdaBase, MemoryType::kReserved});
  add({kHighMemoryBase, low_end - kHighMemoryBase.value(), MemoryType::kRam});
  // Linux uses the ECAM only if firmware has reserved it (PCI Firmware Specification 3.3 §4.1.2).
  add({kPciEcam.base, kPciEcam.size_bytes, MemoryType::kReserved});
  if (ram_bytes > low_end) add({kHighRamBase, ram_bytes - low_end, MemoryType::kRam});
}

void MemoryMap::add(MemoryMapEntry entry) {
  CHECK(count_ < kCapacity);
  entries_[count_++] = entry;
}

}  // namespace bulkhead::boot
