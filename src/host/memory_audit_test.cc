// SPDX-License-Identifier: Apache-2.0
#include "host/memory_audit.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "host/audit_plan.h"
#include "host/fake_processes.h"

namespace bulkhead::host {
namespace {

constexpr pid_t kWeb = 100;
constexpr pid_t kDb = 200;
constexpr pid_t kThief = 300;
constexpr std::size_t kWebIndex = 0;
constexpr std::size_t kDbIndex = 1;

// Two partitions of four pages, as they should be. Every test spoils one thing.
class MemoryAudit : public ::testing::Test {
 protected:
  MemoryAudit() {
    web_file_ = machine_.make_file("/web-ram");
    db_file_ = machine_.make_file("/db-ram");
    machine_.add_process(kWeb, "bulkhead-vmm");
    machine_.add_process(kDb, "bulkhead-vmm");
    machine_.add_process(kThief, "thief");
    machine_.map({.pid = kThief, .start = Hva(0x40000), .first_pfn = 50, .pages = 2});
    map_memory(kWeb, web_file_, 1000);
    map_memory(kDb, db_file_, 2000);
    machine_.open_file(kWeb, 5, machine_.path("/web-ram"));
    machine_.open_file(kDb, 5, machine_.path("/db-ram"));
    input_.partitions = {{.name = "web", .pid = kWeb}, {.name = "db", .pid = kDb}};
    own(web_file_, kWebIndex);
    own(db_file_, kDbIndex);
  }

  void map_memory(pid_t pid, const FileId& file, std::uint64_t pfn, Hva start = Hva(0x100000)) {
    machine_.map({.pid = pid,
                  .start = start,
                  .first_pfn = pfn,
                  .pages = 4,
                  .file = file,
                  .path = "/memfd:bulkhead-ram (deleted)"});
  }
  AuditRegion& own(const FileId& file, std::size_t owner) {
    return input_.regions.emplace_back(
        AuditRegion{.file = file, .size_bytes = 4 * kPageSize, .owner = owner});
  }

  AuditReport audit() {
    auto report = audit_memory(machine_.root(), input_);
    EXPECT_TRUE(report);
    return std::move(report).value_or(AuditReport());
  }
  void expect_clean() {
    const AuditReport report = audit();
    EXPECT_TRUE(report.clean());
    for (const Finding& finding : report.findings) ADD_FAILURE() << finding.why;
    for (const std::string& problem : report.unreadable) ADD_FAILURE() << problem;
  }
  // The audit finds this alone.
  Finding only(FindingKind kind, std::size_t partition = kWebIndex) {
    const AuditReport report = audit();
    EXPECT_EQ(report.findings.size(), 1u);
    if (report.findings.empty()) return {};
    const Finding& finding = report.findings.front();
    for (const Finding& each : report.findings) EXPECT_NE(each.why, "");
    EXPECT_EQ(to_string(finding.kind), to_string(kind)) << finding.why;
    EXPECT_EQ(finding.partition, partition);
    return finding;
  }

  FakeProcesses machine_;
  FileId web_file_, db_file_;
  AuditInput input_;
};

TEST_F(MemoryAudit, NothingIsFoundWhereNothingIsWrong) {
  expect_clean();
  const AuditReport report = audit();
  EXPECT_EQ(report.processes, 4u);
  EXPECT_EQ(report.pages, 8u);
}

TEST_F(MemoryAudit, NothingOwnedNothingFound) {
  input_ = {};
  expect_clean();
}

TEST_F(MemoryAudit, AForeignMappingOfTheFile) {
  map_memory(kThief, web_file_, 1000, Hva(0x80000));
  const Finding finding = only(FindingKind::kForeignMapping);
  EXPECT_EQ(finding.pid, kThief);
  EXPECT_EQ(finding.command, "thief");
  EXPECT_EQ(finding.pages, 4u);
  EXPECT_EQ(finding.frames, (std::vector<Pfn>{Pfn(1000), Pfn(1001), Pfn(1002), Pfn(1003)}));
  EXPECT_EQ(finding.address, Hva(0x80000));
}

// Whatever it looks like: the number of the page decides.
TEST_F(MemoryAudit, AForeignMappingThatLooksAnonymous) {
  machine_.map({.pid = kThief, .start = Hva(0x80000), .first_pfn = 2001});
  const Finding finding = only(FindingKind::kForeignMapping, kDbIndex);
  EXPECT_EQ(finding.pages, 1u);
  EXPECT_NE(finding.why.find("thief"), std::string::npos);
}

TEST_F(MemoryAudit, APageThatTheKernelLentOnIsNoFinding) {
  // The page tables of the owner do not have page 1000 any more: the thief's mapping is in order.
  machine_.map({.pid = kThief, .start = Hva(0x80000), .first_pfn = 1000});
  machine_.set_entry(kWeb, Hva(0x100000), 0);
  expect_clean();
}

// It leaves its owner, and gets to the other, after the audit has seen the owner's page tables.
TEST_F(MemoryAudit, APageThatChangesHandsMeanwhileIsNoFinding) {
  machine_.map({.pid = kThief, .start = Hva(0x80000), .first_pfn = 1000});
  const auto report = audit_memory(machine_.root(), input_, [this](std::size_t, std::size_t) {
    machine_.set_entry(kWeb, Hva(0x100000), 0);
  });
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->clean());
  machine_.set_entry(kWeb, Hva(0x100000), FakeProcesses::kPresent | 1000);
  EXPECT_EQ(only(FindingKind::kForeignMapping).pid, kThief) << "had it stayed";
}

TEST_F(MemoryAudit, MappedTwiceByItsOwner) {
  machine_.map({.pid = kWeb, .start = Hva(0x200000), .first_pfn = 1002});
  const Finding finding = only(FindingKind::kMappedTwice);
  EXPECT_EQ(finding.pid, kWeb);
  EXPECT_EQ(finding.frames, std::vector<Pfn>{Pfn(1002)});
}

TEST_F(MemoryAudit, MoreMappingsThanProcessesHave) {
  machine_.set_count(2003, 2);
  const Finding finding = only(FindingKind::kUnexplainedMapping, kDbIndex);
  EXPECT_EQ(finding.pid, 0);
  EXPECT_EQ(finding.frames, std::vector<Pfn>{Pfn(2003)});
}

TEST_F(MemoryAudit, NoCountAtAllIsNoFinding) {
  machine_.set_count(2003, 0);  // as of pages without a struct page
  expect_clean();
}

TEST_F(MemoryAudit, TheSamePageInTwoPartitions) {
  machine_.set_entry(kDb, Hva(0x100000), FakeProcesses::kPresent | 1000);
  const AuditReport report = audit();
  const auto both =
      std::ranges::count(report.findings, FindingKind::kTwoPartitions, &Finding::kind);
  EXPECT_EQ(both, 2) << "told of each";
  const auto finding =
      std::ranges::find(report.findings, FindingKind::kTwoPartitions, &Finding::kind);
  ASSERT_NE(finding, report.findings.end());
  EXPECT_EQ(finding->frames, std::vector<Pfn>{Pfn(1000)});
}

TEST_F(MemoryAudit, TheSameFileInTwoPartitions) {
  map_memory(kDb, web_file_, 1000, Hva(0x300000));
  own(web_file_, kDbIndex);
  const AuditReport report = audit();
  EXPECT_EQ(std::ranges::count(report.findings, FindingKind::kTwoPartitions, &Finding::kind), 2);
}

TEST_F(MemoryAudit, MergedByTheKernel) {
  machine_.set_flags(1001, kPageFlagKsm);
  machine_.set_flags(50, kPageFlagKsm);  // the thief's own
  const Finding finding = only(FindingKind::kMerged);
  EXPECT_EQ(finding.frames, std::vector<Pfn>{Pfn(1001)});
}

TEST_F(MemoryAudit, MergedByWhatSmapsSays) {
  machine_.append(kWeb, "smaps", "KSM:    8 kB\n");
  EXPECT_EQ(only(FindingKind::kMerged).pages, 2u);
}

TEST_F(MemoryAudit, InSwapByThePageTables) {
  machine_.set_entry(kWeb, Hva(0x101000), FakeProcesses::kSwapped | 77);
  EXPECT_EQ(only(FindingKind::kSwapped).pages, 1u);
}

TEST_F(MemoryAudit, InSwapByWhatSmapsSays) {
  machine_.append(kDb, "smaps", "Swap:    12 kB\n");
  EXPECT_EQ(only(FindingKind::kSwapped, kDbIndex).pages, 3u);
}

TEST_F(MemoryAudit, AnotherProcessHoldsTheFile) {
  machine_.open_file(kThief, 9, machine_.path("/web-ram"));
  machine_.open_file(kThief, 10, "/dev/null");
  const Finding finding = only(FindingKind::kOpenHandle);
  EXPECT_EQ(finding.pid, kThief);
  EXPECT_NE(finding.why.find("descriptor 9"), std::string::npos) << finding.why;
}

TEST_F(MemoryAudit, TheKeeperMayHoldTheFile) {
  machine_.open_file(kThief, 9, machine_.path("/web-ram"));
  input_.keepers = {kThief};
  expect_clean();
}

TEST_F(MemoryAudit, TheKeeperMayNotMapWhatIsOwned) {
  map_memory(kThief, web_file_, 1000, Hva(0x80000));
  input_.keepers = {kThief};
  EXPECT_EQ(only(FindingKind::kForeignMapping).pid, kThief);
}

TEST_F(MemoryAudit, FreeButMapped) {
  input_.regions[kDbIndex].owner = kNoPartition;
  input_.regions[kDbIndex].state = MemoryState::kFree;
  const AuditReport report = audit();
  ASSERT_EQ(report.findings.size(), 2u) << "db's monitor maps and holds what is nobody's";
  EXPECT_EQ(report.findings[0].kind, FindingKind::kUnownedMapped);
  EXPECT_EQ(report.findings[0].partition, kNoPartition);
  EXPECT_EQ(report.findings[0].pid, kDb);
  EXPECT_EQ(report.findings[1].kind, FindingKind::kOpenHandle);
}

TEST_F(MemoryAudit, ScrubbingIsTheKeepersBusiness) {
  const FileId pool = machine_.make_file("/pool");
  AuditRegion& region = own(pool, kNoPartition);
  region.state = MemoryState::kScrubbing;
  machine_.add_process(400, "bulkheadd");
  map_memory(400, pool, 3000);
  machine_.open_file(400, 7, machine_.path("/pool"));
  input_.keepers = {400};
  expect_clean();
  map_memory(kThief, pool, 3000, Hva(0x80000));
  const Finding finding = only(FindingKind::kUnownedMapped, kNoPartition);
  EXPECT_EQ(finding.pid, kThief);
}

TEST_F(MemoryAudit, ANewOwnerThatTheLedgerDoesNotKnow) {
  input_.regions[kWebIndex].owner = kDbIndex;
  const AuditReport report = audit();
  const auto mapping =
      std::ranges::find(report.findings, FindingKind::kForeignMapping, &Finding::kind);
  ASSERT_NE(mapping, report.findings.end());
  EXPECT_EQ(mapping->pid, kWeb);
  EXPECT_EQ(mapping->partition, kDbIndex);
}

TEST_F(MemoryAudit, SharedWithAGrantee) {
  map_memory(kDb, web_file_, 1000, Hva(0x200000));
  input_.regions[kWebIndex].state = MemoryState::kShared;
  input_.regions[kWebIndex].grantees = {kDbIndex};
  expect_clean();
  input_.regions[kWebIndex].state = MemoryState::kOwned;  // the grant is taken back
  EXPECT_EQ(only(FindingKind::kForeignMapping).pid, kDb);
}

TEST_F(MemoryAudit, TheOwnerIsDead) {
  std::filesystem::remove_all(machine_.path("/proc/200"));
  for (std::uint64_t pfn = 2000; pfn < 2004; ++pfn) machine_.set_count(pfn, 0);
  only(FindingKind::kOwnerDead, kDbIndex);
  input_.regions.pop_back();
  expect_clean();
}

// Containers have no /dev/mem: /dev/null stands for it.
TEST_F(MemoryAudit, CarvedMemory) {
  constexpr std::uint64_t kAddress = 5000 * kPageSize;
  input_.physical_device = makedev(1, 3);
  input_.regions.push_back({.offset = kAddress, .size_bytes = 4 * kPageSize, .owner = kWebIndex});
  const FileId device{makedev(0, 6), 4};
  machine_.map_device({.pid = kWeb,
                       .start = Hva(0x400000),
                       .pages = 4,
                       .file = device,
                       .file_offset = kAddress,
                       .path = "/dev/mem"},
                      "/dev/null");
  expect_clean();
  machine_.map_device({.pid = kThief,
                       .start = Hva(0x500000),
                       .pages = 2,
                       .file = device,
                       .file_offset = kAddress + 3 * kPageSize,
                       .path = "/tmp/another name"},
                      "/dev/null");
  const Finding finding = only(FindingKind::kForeignMapping);
  EXPECT_EQ(finding.pid, kThief);
  EXPECT_EQ(finding.frames, std::vector<Pfn>{Pfn(5003)});
  EXPECT_EQ(finding.address, Hva(0x500000));
  input_.regions.pop_back();  // addresses of other memory are no business of ours
  expect_clean();
}

TEST_F(MemoryAudit, CarvedMemoryMappedTwice) {
  input_.physical_device = makedev(1, 3);
  input_.regions.push_back(
      {.offset = 5000 * kPageSize, .size_bytes = 4 * kPageSize, .owner = kWebIndex});
  for (const std::uint64_t start : {0x400000U, 0x500000U}) {
    machine_.map_device({.pid = kWeb,
                         .start = Hva(start),
                         .pages = 4,
                         .file = {makedev(0, 6), 4},
                         .file_offset = 5000 * kPageSize,
                         .path = "/dev/mem"},
                        "/dev/null");
  }
  EXPECT_EQ(only(FindingKind::kMappedTwice).pages, 4u);
}

TEST_F(MemoryAudit, CarvedMemoryOfNobody) {
  input_.regions.push_back({.file = std::nullopt,
                            .offset = 5000 * kPageSize,
                            .size_bytes = 4 * kPageSize,
                            .state = MemoryState::kFree});
  expect_clean();
  machine_.map({.pid = kDb, .start = Hva(0x400000), .first_pfn = 5001});
  EXPECT_EQ(only(FindingKind::kUnownedMapped, kNoPartition).pid, kDb);
}

TEST_F(MemoryAudit, ThePhysicalMemoryDeviceIsAHandle) {
  machine_.open_file(kThief, 3, "/dev/null");  // containers have no /dev/mem
  input_.physical_device = makedev(1, 3);
  expect_clean();  // no carved memory: it reaches none of ours
  input_.regions.push_back({.file = std::nullopt,
                            .offset = 5000 * kPageSize,
                            .size_bytes = 4 * kPageSize,
                            .owner = kDbIndex});
  EXPECT_EQ(only(FindingKind::kOpenHandle, kDbIndex).pid, kThief);
  input_.keepers = {kThief};
  expect_clean();
}

TEST_F(MemoryAudit, GarbledTablesAreNoCrash) {
  machine_.append(kThief, "maps", "garbage\n80000-81000 rw-s 0 0");
  machine_.set_entry(kThief, Hva(0x40000), UINT64_MAX);
  std::filesystem::resize_file(machine_.path("/proc/kpageflags"), 0);
  std::filesystem::resize_file(machine_.path("/proc/kpagecount"), 1001 * 8 + 5);
  expect_clean();
}

TEST_F(MemoryAudit, AProcessThatCannotBeReadIsTold) {
  // A directory in the place of the file: reading fails with EISDIR.
  std::filesystem::remove(machine_.path("/proc/300/maps"));
  std::filesystem::create_directory(machine_.path("/proc/300/maps"));
  const AuditReport report = audit();
  EXPECT_TRUE(report.findings.empty());
  EXPECT_FALSE(report.clean());
  ASSERT_EQ(report.unreadable.size(), 1u);
  EXPECT_NE(report.unreadable[0].find("300"), std::string::npos);
}

TEST_F(MemoryAudit, AProcessThatEndsIsNotTold) {
  std::filesystem::remove(machine_.path("/proc/300/pagemap"));
  expect_clean();
}

TEST_F(MemoryAudit, WithoutTheKernelsArraysThereIsNoAudit) {
  std::filesystem::remove(machine_.path("/proc/kpagecount"));
  EXPECT_EQ(audit_memory(machine_.root(), input_).error().code, Errc::kNotFound);
  EXPECT_FALSE(can_see_page_tables(machine_.root()));
}

TEST_F(MemoryAudit, WithoutPageTablesThereIsNoAudit) {
  for (const pid_t pid : {1, kWeb, kDb, kThief}) {
    std::filesystem::remove(machine_.path("/proc/" + std::to_string(pid) + "/pagemap"));
  }
  EXPECT_EQ(audit_memory(machine_.root(), input_).error().code, Errc::kUnsupported);
}

TEST_F(MemoryAudit, HiddenPageNumbersAreNoCleanAudit) {
  FakeProcesses hidden;
  hidden.add_process(7, "x");
  hidden.map({.pid = 7, .start = Hva(0x10000), .first_pfn = 0, .pages = 2});
  hidden.set_entry(7, Hva(0x11000), FakeProcesses::kPresent);
  EXPECT_EQ(audit_memory(hidden.root(), input_).error().code, Errc::kPermission);
}

TEST(PageOwners, FirstClaimWins) {
  PageOwners owners;
  EXPECT_EQ(owners.find(Pfn(5)), nullptr);
  EXPECT_EQ(owners.claim(Pfn(5), 1), 1);
  EXPECT_EQ(owners.claim(Pfn(5), 2), 1);
  EXPECT_EQ(owners.owner(Pfn(5)), 1);
  EXPECT_EQ(owners.owner(Pfn(6)), kNotWatched);
  EXPECT_EQ(owners.owner(Pfn(5 + 512)), kNotWatched);
  EXPECT_EQ(owners.claim(Pfn(5 + 512), 2), 2);
  EXPECT_EQ(owners.pages(), 2u);
}

}  // namespace
}  // namespace bulkhead::host
