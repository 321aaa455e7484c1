// SPDX-License-Identifier: Apache-2.0
#include "host/memory_layout.h"

#include <gtest/gtest.h>

#include "base/address.h"
#include "host/fake_root.h"

namespace bulkhead::host {
namespace {

constexpr std::string_view kIomem =
    "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n"
    "00100000-4fffffff : System RAM\n  01000000-01ffffff : Kernel code\n"
    "50000000-53ffffff : Reserved\n54000000-7fffffff : System RAM\n"
    "c0000000-febfffff : PCI Bus 0000:00\n";

TEST(PhysicalLayout, RamAndReserved) {
  FakeRoot fake;
  const auto layout = physical_layout(fake.add("/proc/iomem", kIomem).root());
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->ranges.size(), 6u) << "the kernel's code is a part of another";
  EXPECT_EQ(layout->ranges[2].start, kMiB);
  EXPECT_EQ(layout->ranges[2].end, 0x50000000u);
  EXPECT_EQ(layout->ranges[2].kind, RangeKind::kSystemRam);
  EXPECT_EQ(layout->ranges[3].kind, RangeKind::kReserved);
  EXPECT_EQ(layout->ram_bytes(), 0x9ec00 + 0x4ff00000 + 0x2c000000u);
  EXPECT_FALSE(layout->node_of(0));
}

TEST(PhysicalLayout, CarvedRangesAreCutOut) {
  FakeRoot fake;
  fake.add("/proc/iomem", kIomem)
      .add("/proc/cmdline", "memmap=64M$0x50000000 memmap=32M\\$0x10000000 memmap=1G@4G memmap=$");
  const auto layout = physical_layout(fake.root());
  ASSERT_TRUE(layout);
  std::vector<std::uint64_t> carved;
  std::uint64_t end = 0;
  for (const PhysicalRange& range : layout->ranges) {
    EXPECT_GE(range.start, end) << "no overlap";
    end = range.end;
    if (range.kind == RangeKind::kCarved) carved.push_back(range.start);
  }
  EXPECT_EQ(carved, (std::vector<std::uint64_t>{0x10000000, 0x50000000}));
}

TEST(PhysicalLayout, Nodes) {
  FakeRoot fake;
  fake.add("/proc/iomem", kIomem).add("/sys/devices/system/memory/block_size_bytes", "8000000\n");
  for (const char* block : {"node0/memory0", "node0/memory1", "node1/memory2", "node1/memoryx",
                            "node0/memory3", "power/memory9"}) {
    fake.add("/sys/devices/system/node/" + std::string(block) + "/state");
  }
  const auto layout = physical_layout(fake.root());
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->nodes.size(), 3u);
  EXPECT_EQ(layout->nodes[0].end, 256 * kMiB);
  EXPECT_EQ(layout->node_of(256 * kMiB), 1u);
  EXPECT_EQ(layout->node_of(384 * kMiB), 0u);
  EXPECT_FALSE(layout->node_of(512 * kMiB));
}

TEST(PhysicalLayout, HiddenAddressesAreAnError) {
  FakeRoot fake;
  fake.add("/proc/iomem", "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n");
  EXPECT_EQ(physical_layout(fake.root()).error().code, Errc::kPermission);
  EXPECT_EQ(physical_layout(Root("/nowhere")).error().code, Errc::kNotFound);
}

TEST(PhysicalLayout, GarbledLinesAreLeftOut) {
  FakeRoot fake;
  fake.add("/proc/iomem",
           "xyz\n-\n1000 : System RAM\n3000-2000 : System RAM\nffffffffffffffff-ffffffffffffffff : "
           "x\n1000-1fff : System RAM\n1800-2fff : System RAM\n9000-");
  const auto layout = physical_layout(fake.root());
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->ranges.size(), 1u);
  EXPECT_EQ(layout->ram_bytes(), 4 * kKiB);
}

}  // namespace
}  // namespace bulkhead::host
