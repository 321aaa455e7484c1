// SPDX-License-Identifier: Apache-2.0
#include "boot/memory_map.h"

#include <gtest/gtest.h>

#include "boot/layout.h"

namespace bulkhead::boot {
namespace {

std::uint64_t ram_in(const MemoryMap& map) {
  std::uint64_t bytes = 0;
  for (const auto& entry : map.entries()) {
    if (entry.type == MemoryType::kRam) bytes += entry.size_bytes;
  }
  return bytes;
}

TEST(MemoryMap, AscendsWithoutOverlapAndTellsAllRam) {
  for (std::uint64_t size :
       {64 * kMiB, 3 * kGiB - 2 * kMiB, 3 * kGiB, 3 * kGiB + 2 * kMiB, 8 * kGiB}) {
    const MemoryMap map(size);
    std::uint64_t end = 0;
    for (const auto& entry : map.entries()) {
      EXPECT_GE(entry.base.value(), end);
      EXPECT_GT(entry.size_bytes, 0U);
      end = entry.base.value() + entry.size_bytes;
    }
    EXPECT_EQ(ram_in(map), size - (kHighMemoryBase - kEbdaBase));
  }
}

TEST(MemoryMap, LeavesTheHoleBelowFourGiB) {
  const MemoryMap map(4 * kGiB);
  const auto entries = map.entries();
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_EQ(entries[2].base + entries[2].size_bytes, Gpa{3 * kGiB});
  EXPECT_EQ(entries[3],
            (MemoryMapEntry{kPciEcam.base, kPciEcam.size_bytes, MemoryType::kReserved}));
  EXPECT_EQ(entries[4], (MemoryMapEntry{Gpa{4 * kGiB}, kGiB, MemoryType::kRam}));
}

TEST(Layout, ThePciWindowLiesAboveAllRam) {
  EXPECT_EQ(pci_window64(64 * kMiB).base, Gpa{8 * kGiB});
  EXPECT_EQ(pci_window64(7 * kGiB).base, Gpa{8 * kGiB});
  EXPECT_EQ(pci_window64(7 * kGiB + 2 * kMiB).base, Gpa{9 * kGiB});
  EXPECT_EQ(pci_window64(100 * kGiB).base, Gpa{101 * kGiB});
  EXPECT_EQ(pci_window64(RamLayout::of(64 * kMiB, 4 * kGiB + 64 * kMiB)).base, Gpa{8 * kGiB});
  EXPECT_EQ(pci_window64(RamLayout::of(64 * kMiB, 5 * kGiB)).base, Gpa{9 * kGiB});
}

}  // namespace
}  // namespace bulkhead::boot
