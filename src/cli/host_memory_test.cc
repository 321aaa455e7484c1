// SPDX-License-Identifier: Apache-2.0
#include "cli/host_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/ledger_report.h"
#include "host/fake_processes.h"
#include "mem/ledger.h"

namespace bulkhead::cli {
namespace {

using host::AuditRegion;
using host::MemoryState;

constexpr std::uint32_t kWebPid = 100;
constexpr const char* kRuntime = "/run/bulkhead";

// A ledger with a pool of files and a carved one, and a host that agrees with it.
class LedgerMemoryTest : public ::testing::Test {
 protected:
  LedgerMemoryTest() {
    const PoolSetup pools[] = {
        {.backing = Backing::kMemfd, .numa_node = 1, .frames = 64},
        {.backing = Backing::kCarved, .frames = 8, .physical_base = 0x50000000}};
    ledger_ = std::make_unique<Ledger>(*Ledger::format(storage_, pools));
    machine_.add_process(kWebPid, "bulkhead-vmm");
    machine_.files().add("/proc/100/stat",
                         "100 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 1");
    web_ =
        *ledger_->create_partition({.name = "web", .uid = 1001, .pid = kWebPid, .start_time = 777});
    db_ = *ledger_->create_partition({.name = "db", .uid = 1002, .pid = 55, .start_time = 5});
  }

  FrameRun take(PartitionId partition, std::size_t pool, std::uint64_t frames) {
    const FrameRun run = *ledger_->take(partition, pool, frames);
    if (pool == 0) {
      machine_.files().add("/run/bulkhead/pools/memfd-1/" + std::to_string(run.first.value()) +
                           "-" + std::to_string(run.frames));
    }
    return run;
  }
  HostMemory read() { return memory_of_ledger(ledger_->view(), machine_.root(), kRuntime); }

  LedgerMemory storage_{72};
  host::FakeProcesses machine_;
  std::unique_ptr<Ledger> ledger_;
  PartitionId web_, db_;
};

TEST_F(LedgerMemoryTest, PartitionsAndTheirProcesses) {
  const HostMemory memory = read();
  EXPECT_TRUE(memory.whole_host);
  ASSERT_EQ(memory.audit.partitions.size(), 2u);
  EXPECT_EQ(memory.audit.partitions[0].name, "web");
  EXPECT_EQ(memory.audit.partitions[0].pid, 100);
  EXPECT_EQ(memory.audit.partitions[0].uid, 1001u);
  EXPECT_EQ(memory.audit.partitions[1].pid, 0) << "the number is another process's, or nobody's";
}

TEST_F(LedgerMemoryTest, EveryExtentIsAFile) {
  take(web_, 0, 4);
  take(db_, 0, 2);
  const HostMemory memory = read();
  const auto& regions = memory.audit.regions;
  ASSERT_GE(regions.size(), 2u);
  EXPECT_EQ(regions[0].owner, 0u);
  EXPECT_EQ(regions[0].size_bytes, 4 * kFrameSize);
  EXPECT_EQ(regions[0].offset, 0u);
  EXPECT_EQ(regions[1].owner, 1u);
  EXPECT_EQ(regions[1].size_bytes, 2 * kFrameSize);
  ASSERT_TRUE(regions[0].file && regions[1].file);
  EXPECT_NE(regions[0].file->inode, regions[1].file->inode);
  EXPECT_EQ(memory.partitions[0].of(MemoryState::kOwned), 4 * kFrameSize);
  EXPECT_EQ(memory.pools[0].totals.of(MemoryState::kFree), 58 * kFrameSize);
  EXPECT_EQ(memory.pools[0].node, 1u);
}

TEST_F(LedgerMemoryTest, CarvedFramesAreAddresses) {
  take(web_, 1, 2);
  const HostMemory memory = read();
  std::vector<AuditRegion> carved;
  for (const AuditRegion& region : memory.audit.regions) {
    if (!region.file) carved.push_back(region);
  }
  ASSERT_EQ(carved.size(), 2u);
  EXPECT_EQ(carved[0].offset, 0x50000000u);
  EXPECT_EQ(carved[0].size_bytes, 2 * kFrameSize);
  EXPECT_EQ(carved[0].owner, 0u);
  EXPECT_EQ(carved[1].offset, 0x50000000u + 2 * kFrameSize);
  EXPECT_EQ(carved[1].size_bytes, 6 * kFrameSize);
  EXPECT_EQ(carved[1].state, MemoryState::kFree);
  EXPECT_EQ(carved[1].owner, host::kNoPartition);
}

TEST_F(LedgerMemoryTest, ScrubbingIsNobodys) {
  const FrameRun run = take(web_, 0, 4);
  ASSERT_TRUE(ledger_->release(web_, run));
  const HostMemory memory = read();
  ASSERT_FALSE(memory.audit.regions.empty());
  EXPECT_EQ(memory.audit.regions[0].state, MemoryState::kScrubbing);
  EXPECT_EQ(memory.audit.regions[0].owner, host::kNoPartition);
  EXPECT_EQ(memory.pools[0].totals.of(MemoryState::kScrubbing), 4 * kFrameSize);
}

TEST_F(LedgerMemoryTest, SharedPagesHaveTheirGrantees) {
  const FrameRun run = take(web_, 0, 2);
  ASSERT_TRUE(ledger_->place(web_, run, GuestFrame(0)));
  ASSERT_TRUE(ledger_->grant(web_, {.grantee = db_,
                                    .pages = {.first = PageIndex(16), .count = 4},
                                    .rights = Rights::kReadWrite}));
  const HostMemory memory = read();
  const auto shared = std::ranges::find_if(
      memory.audit.regions, [](const AuditRegion& region) { return !region.grantees.empty(); });
  ASSERT_NE(shared, memory.audit.regions.end());
  EXPECT_EQ(shared->offset, 16 * kPageSize);
  EXPECT_EQ(shared->size_bytes, 4 * kPageSize);
  EXPECT_EQ(shared->grantees, std::vector<std::size_t>{1});
  EXPECT_EQ(shared->state, MemoryState::kShared);
  EXPECT_EQ(memory.partitions[0].of(MemoryState::kShared), kFrameSize) << "by the frame";
}

// From the ledger to the finding, and the same without the thief.
TEST_F(LedgerMemoryTest, AnAuditOfAllThis) {
  take(web_, 0, 1);
  HostMemory memory = read();
  machine_.files().add("/proc/self/x");
  machine_.map({.pid = kWebPid,
                .start = Hva(0x100000),
                .first_pfn = 1000,
                .pages = 4,
                .file = *memory.audit.regions[0].file,
                .path = "/run/bulkhead/pools/memfd-1/0-1"});
  auto report = host::audit_memory(machine_.root(), memory.audit);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->clean());
  EXPECT_NE(audit_text(memory, *report).find("clean:"), std::string::npos);

  machine_.add_process(300, "thief\xff");
  machine_.map({.pid = 300, .start = Hva(0x200000), .first_pfn = 1002});
  report = host::audit_memory(machine_.root(), memory.audit);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->findings.size(), 1u);
  const std::string text = audit_text(memory, *report);
  for (const char* part : {"foreign-mapping", "partition web", "0x3ea", "process 300 (thief?)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  const auto json = nlohmann::json::parse(audit_json(memory, *report));
  EXPECT_EQ(json["clean"], false);
  EXPECT_EQ(json["scope"], "host");
  EXPECT_EQ(json["findings"][0]["pid"], 300);
  EXPECT_EQ(json["findings"][0]["first_pfns"][0], 1002);
}

TEST_F(LedgerMemoryTest, ShowsIt) {
  take(web_, 0, 4);
  const HostMemory memory = read();
  const std::string text = show_text(memory);
  EXPECT_NE(text.find("memfd       1      128M      120M        8M"), std::string::npos) << text;
  EXPECT_NE(text.find("web                      1001      100        8M"), std::string::npos)
      << text;
  const auto json = nlohmann::json::parse(show_json(memory));
  EXPECT_EQ(json["pools"][0]["free_bytes"], 60 * kFrameSize);
  EXPECT_EQ(json["pools"][1]["numa_node"], nullptr);
  EXPECT_EQ(json["partitions"][0]["owned_bytes"], 4 * kFrameSize);
}

TEST(MonitorMemory, IsNamedByTheRuntimeDirectory) {
  host::FakeProcesses machine;
  const std::string user = std::to_string(::geteuid());
  for (const pid_t pid : {10, 11}) {
    const std::string status = "Uid:\t" + user + "\t" + user + "\n";
    machine.add_process(pid, "bulkhead-vmm");
    machine.files().add("/proc/" + std::to_string(pid) + "/status", status);
    machine.map({.pid = pid,
                 .start = Hva(0x100000),
                 .first_pfn = 64U * static_cast<unsigned>(pid),
                 .pages = 2,
                 .file = {1, static_cast<std::uint64_t>(pid)},
                 .path = "/memfd:bulkhead-ram (deleted)"});
  }
  machine.files()
      .add("/run/user/1000/bulkhead/web/pid", "10\n")
      .add("/run/bulkhead/-bad-/pid", "11\n");
  const HostMemory memory = memory_of_monitors(machine.root(), kRuntime);
  ASSERT_EQ(memory.audit.partitions.size(), 2u);
  EXPECT_EQ(memory.audit.partitions[0].name, "web");
  EXPECT_EQ(memory.audit.partitions[1].name, "pid-11");
  EXPECT_EQ(memory.partitions[0].of(MemoryState::kOwned), 2 * kPageSize);
  EXPECT_FALSE(memory.whole_host);
  const std::string text = show_text(memory);
  EXPECT_NE(text.find("covers that partition alone"), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::cli
