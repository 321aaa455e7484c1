// SPDX-License-Identifier: Apache-2.0
#include "host/memory_map.h"

#include <gtest/gtest.h>

#include <numeric>

#include "host/fake_processes.h"

namespace bulkhead::host {
namespace {

constexpr std::uint64_t kPagesPerFrame = kFrameSize / kPageSize;

PhysicalRange ram(std::uint64_t start, std::uint64_t end) {
  return {start, end, RangeKind::kSystemRam};
}

std::uint64_t sum(const MemoryMap::Cell& cell) {
  return std::accumulate(cell.begin(), cell.end(), std::uint64_t{0},
                         [](std::uint64_t total, const auto& part) { return total + part.second; });
}

TEST(MemoryMap, CellsTellWhoseTheyAre) {
  FakeProcesses machine;
  const FileId file = machine.make_file("/ram");
  machine.add_process(7, "bulkhead-vmm");
  machine.map(
      {.pid = 7, .start = Hva(0x100000), .first_pfn = kPagesPerFrame, .pages = 3, .file = file});
  for (std::uint64_t pfn = 2 * kPagesPerFrame; pfn < 3 * kPagesPerFrame; ++pfn) {
    machine.set_flags(pfn, kPageFlagBuddy);
  }
  AuditInput input;
  input.partitions = {{.name = "web", .pid = 7}};
  input.regions = {{.file = file, .size_bytes = 3 * kPageSize, .owner = 0}};
  const PhysicalLayout layout{.ranges = {{0, kFrameSize, RangeKind::kReserved},
                                         ram(kFrameSize, 3 * kFrameSize),
                                         {3 * kFrameSize, 4 * kFrameSize, RangeKind::kCarved}},
                              .nodes = {{0, kGiB, 5}}};
  const auto map = map_memory(machine.root(), input, layout, {.columns = 8, .max_rows = 4});
  ASSERT_TRUE(map);
  EXPECT_EQ(map->cell_bytes, kFrameSize);
  ASSERT_EQ(map->rows.size(), 1u);
  const MemoryMap::Row& row = map->rows[0];
  EXPECT_EQ(row.node, 5u);
  ASSERT_EQ(row.cells.size(), 8u);
  for (const MemoryMap::Cell& cell : row.cells) EXPECT_EQ(sum(cell), kFrameSize);
  EXPECT_EQ(row.cells[0].front().first, kReservedByFirmware);
  EXPECT_EQ(row.cells[1].front().first, kUsedByHost);
  ASSERT_EQ(row.cells[1].size(), 2u);
  EXPECT_EQ(row.cells[1][1], (std::pair{kFirstPartition, 3 * kPageSize}));
  EXPECT_EQ(row.cells[2].front().first, kFreeMemory);
  EXPECT_EQ(row.cells[3].front().first, kCarvedUnowned);
  EXPECT_EQ(row.cells[4].front().first, kNotRam);
  EXPECT_EQ(map->totals[kFirstPartition], 3 * kPageSize);
  EXPECT_EQ(map->totals[kFreeMemory], kFrameSize);
  EXPECT_FALSE(map->estimated);
}

TEST(MemoryMap, HolesHaveNoRows) {
  FakeProcesses machine;
  const PhysicalLayout layout{.ranges = {ram(0, kFrameSize), ram(kGiB, kGiB + kFrameSize)},
                              .nodes = {}};
  const auto map = map_memory(machine.root(), {}, layout, {.columns = 8, .max_rows = 4});
  ASSERT_TRUE(map);
  ASSERT_EQ(map->rows.size(), 2u);
  EXPECT_EQ(map->rows[1].address, kGiB);
  EXPECT_FALSE(map->rows[0].node);
}

TEST(MemoryMap, CarvedMemoryWithAnOwner) {
  FakeProcesses machine;
  AuditInput input;
  input.partitions = {{.name = "a"}, {.name = "b"}};
  input.regions = {{.offset = kFrameSize, .size_bytes = kFrameSize, .owner = 1}};
  const PhysicalLayout layout{.ranges = {{0, 4 * kFrameSize, RangeKind::kCarved}}, .nodes = {}};
  const auto map = map_memory(machine.root(), input, layout, {.columns = 8, .max_rows = 4});
  ASSERT_TRUE(map);
  EXPECT_EQ(map->rows[0].cells[1].front().first, kFirstPartition + 1);
  EXPECT_EQ(map->totals[kFirstPartition + 1], kFrameSize);
  EXPECT_EQ(map->totals[kFirstPartition], 0u);
  EXPECT_EQ(map->totals[kCarvedUnowned], 3 * kFrameSize);
}

TEST(MemoryMap, ALargeMachineHasLargeCells) {
  FakeProcesses machine;
  const PhysicalLayout layout{.ranges = {ram(0, 3 * kGiB), ram(4 * kGiB, 1025 * kGiB)},
                              .nodes = {}};
  const auto map = map_memory(machine.root(), {}, layout, {.columns = 128, .max_rows = 128});
  ASSERT_TRUE(map);
  EXPECT_EQ(map->cell_bytes, 128 * kMiB) << "at 64 MiB there would be 129 rows";
  EXPECT_LE(map->rows.size(), 128u);
  EXPECT_TRUE(map->estimated);
  EXPECT_EQ(map->totals[kUsedByHost], layout.ram_bytes());
}

}  // namespace
}  // namespace bulkhead::host
