// SPDX-License-Identifier: Apache-2.0
#include "host/monitors.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "host/fake_processes.h"

namespace bulkhead::host {
namespace {

const FileId kRam{makedev(0, 1), 77};
const FileId kPool{makedev(0, 22), 5};

TEST(Monitors, AreFoundByNameWithTheirMemory) {
  FakeProcesses machine;
  machine.add_process(10, "bulkhead-vmm");
  machine.files().add("/proc/10/status", "Name:\tbulkhead-vmm\nUid:\t1001\t1001\t1001\t1001\n");
  machine.map({.pid = 10,
               .start = Hva(0x100000),
               .first_pfn = 9,
               .pages = 2,
               .file = kRam,
               .path = "/memfd:bulkhead-ram (deleted)"});
  machine.map({.pid = 10,
               .start = Hva(0x200000),
               .first_pfn = 19,
               .file = kPool,
               .file_offset = kFrameSize,
               .path = "/run/bulkhead/pools/0"});
  machine.map({.pid = 10,
               .start = Hva(0x300000),
               .first_pfn = 29,
               .file = {makedev(0, 6), 4},
               .file_offset = 29 * kPageSize,
               .path = "/dev/mem"});
  machine.map({.pid = 10, .start = Hva(0x400000), .first_pfn = 39, .path = "[heap]"});
  machine.add_process(11, "other");
  machine.map({.pid = 11,
               .start = Hva(0x100000),
               .first_pfn = 9,
               .pages = 2,
               .file = kRam,
               .path = "/memfd:bulkhead-ram (deleted)"});
  const auto monitors = find_monitors(machine.root(), "/run/bulkhead/pools");
  ASSERT_TRUE(monitors);
  ASSERT_EQ(monitors->size(), 1u);
  const Monitor& monitor = monitors->front();
  EXPECT_EQ(monitor.pid, 10);
  EXPECT_EQ(monitor.uid, 1001u);
  ASSERT_EQ(monitor.regions.size(), 3u);
  EXPECT_EQ(monitor.regions[0].file, kRam);
  EXPECT_EQ(monitor.regions[1].file, kPool);
  EXPECT_EQ(monitor.regions[1].offset, kFrameSize);
  EXPECT_FALSE(monitor.regions[2].file);
  EXPECT_EQ(monitor.regions[2].offset, 29 * kPageSize);
  EXPECT_EQ(monitor.size_bytes(), 4 * kPageSize);
}

TEST(Monitors, OneThatEndsIsLeftOut) {
  FakeProcesses machine;
  machine.add_process(10, "bulkhead-vmm");
  std::filesystem::remove(machine.path("/proc/10/maps"));
  const auto monitors = find_monitors(machine.root(), "");
  ASSERT_TRUE(monitors);
  EXPECT_TRUE(monitors->empty());
}

TEST(Monitors, OneThatCannotBeReadIsAnError) {
  FakeProcesses machine;
  machine.add_process(10, "bulkhead-vmm");
  std::filesystem::remove(machine.path("/proc/10/maps"));
  std::filesystem::create_directory(machine.path("/proc/10/maps"));
  EXPECT_FALSE(find_monitors(machine.root(), ""));
}

}  // namespace
}  // namespace bulkhead::host
