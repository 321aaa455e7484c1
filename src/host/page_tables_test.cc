// SPDX-License-Identifier: Apache-2.0
#include "host/page_tables.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/mapping.h"
#include "host/fake_processes.h"

namespace bulkhead::host {
namespace {

TEST(MapsLine, OfAMemoryFile) {
  const auto vma = parse_maps_line(
      "7f0000000000-7f0000200000 rw-s 00100000 00:01 1234                 /memfd:bulkhead-ram "
      "(deleted)");
  ASSERT_TRUE(vma);
  EXPECT_EQ(vma->start, Hva(0x7f0000000000));
  EXPECT_EQ(vma->size_bytes(), 2 * kMiB);
  EXPECT_EQ(vma->file_offset, kMiB);
  EXPECT_EQ(vma->file, (FileId{makedev(0, 1), 1234}));
  EXPECT_EQ(vma->path, "/memfd:bulkhead-ram (deleted)");
  EXPECT_TRUE(vma->readable && vma->writable && vma->shared);
}

TEST(MapsLine, OfAnonymousMemory) {
  const auto vma = parse_maps_line("1000-3000 ---p 00000000 00:00 0 ");
  ASSERT_TRUE(vma);
  EXPECT_EQ(vma->file.inode, 0u);
  EXPECT_EQ(vma->path, "");
  EXPECT_FALSE(vma->readable || vma->writable || vma->shared);
}

TEST(MapsLine, GarbledOrTruncatedIsNone) {
  const std::string good = "1000-3000 rw-s 00000000 fe:01 77 /x";
  ASSERT_TRUE(parse_maps_line(good));
  for (std::size_t length = 0; length < good.find("77"); ++length) {
    EXPECT_FALSE(parse_maps_line(good.substr(0, length))) << length;
  }
  for (const char* line :
       {"3000-1000 rw-s 0 0:0 0", "1000-1000 rw-s 0 0:0 0", "xyz-3000 rw-s 0 0:0 0",
        "1000-3000 rw 0 0:0 0", "1000-3000 rw-s zz 0:0 0", "10000000000000000-20 rw-s 0 0:0 0",
        "1000-3000 rw-s 0 0:0 7f"}) {
    EXPECT_FALSE(parse_maps_line(line)) << line;
  }
}

TEST(Process, WalksWhatIsMapped) {
  FakeProcesses machine;
  machine.add_process(7, "seven");
  machine.map({.pid = 7, .start = Hva(0x10000), .first_pfn = 100, .pages = 3});
  const Root root = machine.root();
  const auto process = Process::open(root, 7);
  ASSERT_TRUE(process);
  EXPECT_EQ(process->command(), "seven");
  const auto vmas = process->vmas();
  ASSERT_TRUE(vmas);
  ASSERT_EQ(vmas->size(), 1u);
  std::vector<std::uint64_t> seen;
  ASSERT_TRUE(process->walk(vmas->front(), [&](Hva start, std::span<const PageEntry> entries) {
    EXPECT_EQ(start, Hva(0x10000));
    for (const PageEntry entry : entries) seen.push_back(entry.pfn().value());
  }));
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101, 102}));
}

TEST(Process, ATruncatedPagemapEndsTheWalk) {
  FakeProcesses machine;
  machine.add_process(7, "seven");
  machine.map({.pid = 7, .start = Hva(0x10000), .first_pfn = 100, .pages = 3});
  std::filesystem::resize_file(machine.path("/proc/7/pagemap"), 16 * 8 + 8 + 3);
  const auto process = Process::open(machine.root(), 7);
  ASSERT_TRUE(process);
  std::size_t seen = 0;
  ASSERT_TRUE(process->walk(process->vmas()->front(), [&](Hva, std::span<const PageEntry> entries) {
    seen += entries.size();
  }));
  EXPECT_EQ(seen, 1u);
}

TEST(Process, OneThatHasEndedIsNotFound) {
  FakeProcesses machine;
  EXPECT_EQ(Process::open(machine.root(), 99).error().code, Errc::kNotFound);
  machine.add_process(7, "seven");
  const auto process = Process::open(machine.root(), 7);
  std::filesystem::remove_all(machine.path("/proc/7"));
  EXPECT_EQ(process->vmas().error().code, Errc::kNotFound);
  EXPECT_EQ(process->open_files().error().code, Errc::kNotFound);
  EXPECT_EQ(process->command(), "?");
}

TEST(Process, GarbledNamesAndLinesAreKeptOut) {
  FakeProcesses machine;
  machine.add_process(7, "a\x1b[31m\xff");
  machine.append(7, "maps", "nonsense\n\n1000-2000 rw-p 0 0:0 0 [heap]\n1000-20");
  const auto process = Process::open(machine.root(), 7);
  EXPECT_EQ(process->command(), "a?[31m?");
  ASSERT_EQ(process->vmas()->size(), 1u);
  EXPECT_EQ(process->vmas()->front().path, "[heap]");
}

TEST(Process, OpenFilesByIdentity) {
  FakeProcesses machine;
  const FileId file = machine.make_file("/pool");
  machine.add_process(7, "seven");
  machine.open_file(7, 3, machine.path("/pool"));
  machine.open_file(7, 4, machine.path("/gone"));
  machine.open_file(7, 5, "/dev/null");
  const auto files = Process::open(machine.root(), 7)->open_files();
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 2u);
  const auto found = std::ranges::find(*files, 3, &OpenFile::number);
  ASSERT_NE(found, files->end());
  EXPECT_EQ(found->file, file);
  const auto null = std::ranges::find(*files, 5, &OpenFile::number);
  ASSERT_NE(null, files->end());
  EXPECT_EQ(null->special_device, makedev(1, 3));
}

TEST(Process, SmapsOfOneFile) {
  FakeProcesses machine;
  machine.add_process(7, "seven");
  machine.append(
      7, "smaps",
      "1000-3000 rw-s 0 00:01 5 /a\nSize: 8 kB\nSwap:    4 kB\nKSM:  8 kB\nSwapPss: 1 kB\n"
      "3000-5000 rw-s 0 00:01 6 /b\nSwap:    16 kB\n"
      "5000-7000 rw-s 0 00:01 5 /a\nSwap:    nonsense\nKSM: 4 kB");
  const auto totals = Process::open(machine.root(), 7)->smaps_of({makedev(0, 1), 5});
  ASSERT_TRUE(totals);
  EXPECT_EQ(totals->swapped_bytes, 4 * kKiB);
  EXPECT_EQ(totals->merged_bytes, 12 * kKiB);
}

TEST(ProcessIds, AreTheNumbers) {
  FakeProcesses machine;
  machine.add_process(30, "x");
  machine.files().add("/proc/5x/comm").add("/proc/self/comm").add("/proc/-3/comm");
  EXPECT_EQ(process_ids(machine.root()), (std::vector<pid_t>{1, 30}));
  EXPECT_TRUE(process_ids(Root("/nowhere")).empty());
}

TEST(PageArray, EndsWhereMemoryDoes) {
  FakeProcesses machine;
  machine.set_count(9, 3);
  const auto counts = PageArray::open(machine.root(), "/proc/kpagecount");
  ASSERT_TRUE(counts);
  std::array<std::uint64_t, 4> values{};
  EXPECT_EQ(*counts->read(Pfn(8), values), 2u);
  EXPECT_EQ(values[1], 3u);
  EXPECT_EQ(*counts->read(Pfn(100), values), 0u);
  EXPECT_EQ(*counts->read(Pfn(UINT64_MAX), values), 0u);
}

// The kernel's own format, and the way round what is reserved and not used.
TEST(Process, FindsThePagesOfThisOne) {
  constexpr std::uint64_t kReserved = 64 * kGiB;
  const auto memory = Mapping::create({.size_bytes = kReserved,
                                       .protection = PROT_READ | PROT_WRITE,
                                       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE});
  if (!memory) GTEST_SKIP() << "no address space to reserve";
  const Hva touched = memory->host() + kReserved / 2;
  memory->data()[kReserved / 2] = std::byte{1};
  const auto process = Process::open(Root(), ::getpid());
  if (!process) GTEST_SKIP() << "this kernel shows no page tables";
  const auto vmas = process->vmas();
  ASSERT_TRUE(vmas);
  const auto vma = std::ranges::find_if(*vmas, [&](const Vma& candidate) {
    return candidate.start <= touched && touched < candidate.end;
  });
  ASSERT_NE(vma, vmas->end());
  bool found = false;
  ASSERT_TRUE(process->walk(*vma, [&](Hva start, std::span<const PageEntry> entries) {
    if (start > touched || start + entries.size() * kPageSize <= touched) return;
    const PageEntry entry = entries[(touched - start) / kPageSize];
    EXPECT_TRUE(entry.present());
    EXPECT_FALSE(entry.swapped());
    found = true;
  }));
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace bulkhead::host
