// SPDX-License-Identifier: Apache-2.0
#include "mem/frame_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/mapping.h"
#include "mem/fake_host_for_test.h"
#include "mem/scrub.h"

namespace bulkhead {
namespace {

using Open = FramePool::Open;
using Runs = std::vector<FrameRun>;

constexpr std::uint64_t kFrames = 16;

FrameRun run_of(std::uint64_t first, std::uint64_t frames) {
  return {FrameIndex(first), frames};
}

Mapping map(const Extent& extent) {
  return Mapping::create({.size_bytes = extent.size_bytes(),
                          .protection = PROT_READ | PROT_WRITE,
                          .flags = MAP_SHARED,
                          .fd = extent.file.get(),
                          .offset = extent.file_offset})
      .value();
}

bool holds_only(const Extent& extent, std::byte value) {
  const Mapping mapping = map(extent);
  return std::ranges::all_of(mapping.bytes(), [&](std::byte byte) { return byte == value; });
}

// Writes into the first, the last and a middle page, and leaves the rest untouched.
void write_pattern(const Extent& extent) {
  const Mapping mapping = map(extent);
  for (const std::uint64_t at : {std::uint64_t{0}, extent.size_bytes() / 2 + 5 * kPageSize,
                                 extent.size_bytes() - kPageSize}) {
    std::fill_n(mapping.data() + at, kPageSize, std::byte{0xa5});
  }
}

std::uint64_t blocks(const Extent& extent) {
  struct stat status{};
  EXPECT_EQ(::fstat(extent.file.get(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks);
}

// What the administrator does with `sysctl vm.nr_hugepages`, undone at the end.
class HugePages {
 public:
  static constexpr const char* kFile = "/proc/sys/vm/nr_hugepages";

  HugePages() : lock_(::open(kFile, O_RDONLY | O_CLOEXEC)) {
    ::flock(lock_.get(), LOCK_EX);  // of other runs of this test
    std::ifstream(kFile) >> before_;
    set(before_ + kFrames);
  }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages() { set(before_); }

  bool raised() const {
    std::uint64_t now = 0;
    std::ifstream(kFile) >> now;
    return now >= before_ + kFrames;
  }

 private:
  static void set(std::uint64_t pages) { std::ofstream(kFile) << pages; }
  const Fd lock_;
  std::uint64_t before_ = 0;
};

// How many huge pages somebody could still reserve.
std::uint64_t free_huge_pages() {
  const std::string directory = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
  std::uint64_t pages = 0;
  std::uint64_t reserved = 0;
  std::ifstream(directory + "free_hugepages") >> pages;
  std::ifstream(directory + "resv_hugepages") >> reserved;
  return pages - reserved;
}

// With a mount namespace of our own, so that nothing is left behind.
class FilePoolTest : public testing::TestWithParam<Backing> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can mount";
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "cannot make a mount namespace here";
    }
    if (GetParam() == Backing::kHugetlb) {
      pages_.emplace();
      if (!pages_->raised()) GTEST_SKIP() << "the host has no room for more 2 MiB pages";
    }
    std::string name = std::filesystem::temp_directory_path() / "bulkhead pool XXXXXX";
    directory_ = ::mkdtemp(name.data());
    restart();
  }
  void TearDown() override {
    if (directory_.empty()) return;
    pool_.reset();
    ::umount2(path().c_str(), MNT_DETACH);
    std::filesystem::remove_all(directory_);
  }

  std::string path() const { return directory_ + "/pool"; }
  FilePoolOptions options() const {
    return {.backing = GetParam(), .directory = path(), .frames = kFrames, .numa_node = {}};
  }
  // As the daemon's end and next start do.
  void restart() {
    pool_.reset();
    pool_ = create_file_pool(options()).value();
  }
  Errc refusal(const FilePoolOptions& options) { return create_file_pool(options).error().code; }

  std::optional<HugePages> pages_;
  std::string directory_;
  std::unique_ptr<FramePool> pool_;
};

TEST_P(FilePoolTest, HandsOutZeroedRuns) {
  const Extent extent = pool_->open_extent(run_of(3, 2), Open::kNew).value();
  EXPECT_EQ(extent.first, FrameIndex(3));
  EXPECT_EQ(extent.frames, 2u);
  EXPECT_EQ(extent.backing, GetParam());
  EXPECT_EQ(extent.file_offset % kFrameSize, 0u);
  EXPECT_TRUE(holds_only(extent, std::byte{0}));
  EXPECT_EQ(pool_->frames(), kFrames);
  EXPECT_FALSE(pool_->starts_unscrubbed());
}

TEST_P(FilePoolTest, RefusesFramesThatItDoesNotHave) {
  for (const FrameRun& run : {run_of(0, 0), run_of(kFrames, 1), run_of(kFrames - 1, 2),
                              run_of(~std::uint64_t{0}, 2), run_of(1, ~std::uint64_t{0})}) {
    EXPECT_EQ(pool_->open_extent(run, Open::kNew).error().code, Errc::kOutOfRange);
    EXPECT_EQ(pool_->scrub(run).error().code, Errc::kOutOfRange);
    EXPECT_EQ(pool_->remove(run).error().code, Errc::kOutOfRange);
    EXPECT_EQ(pool_->held(run).error().code, Errc::kOutOfRange);
  }
  EXPECT_EQ(pool_->open_extent(run_of(0, 1), Open::kExisting).error().code, Errc::kNotFound);
  EXPECT_EQ(pool_->scrub(run_of(0, 1)).error().code, Errc::kNotFound);
  EXPECT_EQ(pool_->remove(run_of(0, 1)).error().code, Errc::kNotFound);
  EXPECT_EQ(pool_->existing().value(), Runs{});
}

TEST_P(FilePoolTest, GivesNoFrameTwice) {
  ASSERT_TRUE(pool_->open_extent(run_of(4, 4), Open::kNew));
  for (const FrameRun& run : {run_of(4, 4), run_of(7, 1), run_of(3, 2), run_of(0, 16)}) {
    EXPECT_EQ(pool_->open_extent(run, Open::kNew).error().code, Errc::kExists);
  }
  EXPECT_TRUE(pool_->open_extent(run_of(3, 1), Open::kNew));
  EXPECT_TRUE(pool_->open_extent(run_of(8, 1), Open::kNew));
  EXPECT_EQ(pool_->existing().value(), (Runs{run_of(3, 1), run_of(4, 4), run_of(8, 1)}));
}

TEST_P(FilePoolTest, FindsItsFramesAgainAfterARestart) {
  write_pattern(pool_->open_extent(run_of(5, 2), Open::kNew).value());
  restart();
  EXPECT_EQ(pool_->existing().value(), Runs{run_of(5, 2)});
  const Extent extent = pool_->open_extent(run_of(5, 2), Open::kExisting).value();
  EXPECT_EQ(map(extent).bytes()[0], std::byte{0xa5});
  EXPECT_EQ(pool_->open_extent(run_of(5, 2), Open::kNew).error().code, Errc::kExists);
  EXPECT_EQ(pool_->open_extent(run_of(5, 1), Open::kExisting).error().code, Errc::kNotFound);
}

TEST_P(FilePoolTest, ScrubbingOverwritesWhatWasWritten) {
  const Extent extent = pool_->open_extent(run_of(0, 3), Open::kNew).value();
  write_pattern(extent);
  const std::uint64_t before = blocks(extent);
  EXPECT_FALSE(holds_only(pool_->open_extent(run_of(0, 3), Open::kExisting).value(), std::byte{0}))
      << "the control: without scrubbing the next to open it sees what was written";
  // A page that somebody maps is the page that is overwritten, and not another put in its place.
  const Mapping last = Mapping::create({.size_bytes = kFrameSize,
                                        .protection = PROT_READ,
                                        .flags = MAP_SHARED,
                                        .fd = extent.file.get(),
                                        .offset = 2 * kFrameSize})
                           .value();
  ASSERT_EQ(last.bytes().back(), std::byte{0xa5});
  ASSERT_TRUE(pool_->scrub(run_of(0, 3)));
  EXPECT_EQ(last.bytes().back(), std::byte{0});
  EXPECT_EQ(blocks(extent), before);
  EXPECT_TRUE(holds_only(pool_->open_extent(run_of(0, 3), Open::kExisting).value(), std::byte{0}));
  ASSERT_TRUE(pool_->remove(run_of(0, 3)));
  EXPECT_EQ(pool_->existing().value(), Runs{});
  EXPECT_TRUE(holds_only(pool_->open_extent(run_of(0, 3), Open::kNew).value(), std::byte{0}));
}

TEST_P(FilePoolTest, TellsWhetherSomebodyStillHasARun) {
  const FrameRun run = run_of(0, 1);
  Extent extent = pool_->open_extent(run, Open::kNew).value();
  EXPECT_TRUE(pool_->held(run).value());
  Mapping mapping = map(extent);
  extent.file.reset();
  EXPECT_TRUE(pool_->held(run).value()) << "mapped only";
  mapping.reset();
  EXPECT_FALSE(pool_->held(run).value());
  const Extent again = pool_->open_extent(run, Open::kExisting).value();
  EXPECT_TRUE(pool_->held(run).value());
}

TEST_P(FilePoolTest, AnOwnerThatTruncatesItsRunHurtsNobodyElse) {
  const FrameRun run = run_of(0, 2);
  const Extent extent = pool_->open_extent(run, Open::kNew).value();
  write_pattern(extent);
  ASSERT_EQ(::ftruncate(extent.file.get(), 0), 0);
  EXPECT_EQ(pool_->open_extent(run, Open::kExisting).error().code, Errc::kMalformed);
  EXPECT_TRUE(pool_->scrub(run)) << "nothing is left of it";
  std::atomic<bool> stop = false;
  std::thread owner([&] {
    while (!stop) {
      if (::ftruncate(extent.file.get(), 0) != 0) return;
      if (::ftruncate(extent.file.get(), 2 * kFrameSize) != 0) return;
      const Mapping page = map(extent);
      page.data()[0] = std::byte{0xa5};
    }
  });
  // Each may fail or not. Were a page overwritten by plain stores, one would end us (seen each
  // time).
  for (int round = 0; round < 10000; ++round) static_cast<void>(pool_->scrub(run).has_value());
  stop = true;
  owner.join();
  ASSERT_TRUE(pool_->remove(run));
}

TEST_P(FilePoolTest, HoldsTheMemoryOfARunFromTheStart) {
  // Nobody can take these frames any more, so that a first touch cannot fail.
  ASSERT_TRUE(pool_->open_extent(run_of(0, kFrames), Open::kNew));
  FilePoolOptions more = options();
  if (GetParam() == Backing::kMemfd) {
    const Extent extent = pool_->open_extent(run_of(0, kFrames), Open::kExisting).value();
    EXPECT_EQ(blocks(extent) * 512, extent.size_bytes());
    const Fd other(::open(path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    EXPECT_EQ(::fallocate(other.get(), 0, 0, kPageSize), -1) << "the mount is full";
    return;
  }
  const std::uint64_t free = free_huge_pages();
  more.frames += free + 1;
  pool_ = create_file_pool(more).value();
  const Result<Extent> extent = pool_->open_extent(run_of(kFrames, free + 1), Open::kNew);
  ASSERT_FALSE(extent);
  EXPECT_EQ(extent.error().code, Errc::kExhausted);
  EXPECT_NE(std::string(extent.error().what).find("vm.nr_hugepages"), std::string::npos);
}

TEST_P(FilePoolTest, RefusesPlacesThatAreNotItsOwn) {
  FilePoolOptions bad = options();
  bad.frames = 0;
  EXPECT_EQ(refusal(bad), Errc::kInvalidArgument);
  bad = options();
  bad.directory = "relative";
  EXPECT_EQ(refusal(bad), Errc::kInvalidArgument);
  bad = options();
  bad.backing = Backing::kCarved;
  EXPECT_EQ(refusal(bad), Errc::kInvalidArgument);

  ASSERT_EQ(::chmod(path().c_str(), 0755), 0);
  EXPECT_EQ(refusal(options()), Errc::kPermission);
  ASSERT_EQ(::chmod(path().c_str(), 0700), 0);
  ASSERT_EQ(::chown(path().c_str(), 65534, 0), 0);
  EXPECT_EQ(refusal(options()), Errc::kPermission);
  ASSERT_EQ(::chown(path().c_str(), 0, 0), 0);
  EXPECT_TRUE(create_file_pool(options())) << "the control";

  bad = options();
  bad.directory = directory_ + "/link";
  std::filesystem::create_symlink("pool", bad.directory);
  EXPECT_FALSE(create_file_pool(bad));
  bad.directory = directory_ + "/other";
  ASSERT_EQ(::mkdir(bad.directory.c_str(), 0700), 0);
  ASSERT_EQ(::mount("test", bad.directory.c_str(), "proc", 0, nullptr), 0);
  EXPECT_FALSE(create_file_pool(bad)) << "another file system";
  ::umount2(bad.directory.c_str(), MNT_DETACH);
}

TEST_P(FilePoolTest, RefusesFilesThatItDidNotMake) {
  ASSERT_TRUE(pool_->open_extent(run_of(4, 2), Open::kNew));
  for (const char* name : {"rubbish", "5", "5-", "-1", "0-0", "00-1", "0-1x", "0-1-2", "16-1",
                           "15-2", "5-1", "3-2", "+0-1"}) {
    const std::string file = path() + "/" + name;
    const Fd made(::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    ASSERT_TRUE(made.valid()) << name;
    EXPECT_EQ(pool_->existing().error().code, Errc::kMalformed) << name;
    ASSERT_EQ(::unlink(file.c_str()), 0);
  }
  EXPECT_EQ(pool_->existing().value(), Runs{run_of(4, 2)});
}

// What the kernel says of the policy of the file's pages, seen through another mapping.
int policy_of(const Extent& extent) {
  const Mapping mapping = map(extent);
  mapping.data()[0] = std::byte{1};
  int mode = -1;
  EXPECT_EQ(::syscall(SYS_get_mempolicy, &mode, nullptr, 0, mapping.data(), MPOL_F_ADDR), 0);
  return mode;
}

TEST_P(FilePoolTest, BindsItsFramesToANode) {
  FilePoolOptions bound = options();
  bound.numa_node = 0;
  const auto pool = create_file_pool(bound);
  if (!pool && pool.error().os_errno == ENOSYS) GTEST_SKIP() << pool.error().what;
  ASSERT_TRUE(pool) << pool.error().what;
  EXPECT_EQ((*pool)->numa_node(), 0u);
  const Extent one = (*pool)->open_extent(run_of(0, 1), Open::kNew).value();
  const Extent other = pool_->open_extent(run_of(1, 1), Open::kNew).value();
  if (GetParam() == Backing::kMemfd) {
    EXPECT_EQ(policy_of(one), MPOL_BIND);
    EXPECT_EQ(policy_of(other), MPOL_DEFAULT) << "the control";
  } else {  // such a file has no policy, but pages at once
    EXPECT_EQ(blocks(one) * 512, kFrameSize);
    EXPECT_EQ(blocks(other), 0u) << "the control";
  }
  for (const unsigned node : {63u, 1023u, 1024u, ~0u}) {
    bound.numa_node = node;
    EXPECT_EQ(refusal(bound), Errc::kNotFound) << node;
  }
}

INSTANTIATE_TEST_SUITE_P(Backings, FilePoolTest,
                         testing::Values(Backing::kMemfd, Backing::kHugetlb), [](const auto& test) {
                           return test.param == Backing::kMemfd ? "Tmpfs" : "Hugetlbfs";
                         });

class CarvedPoolTest : public testing::Test {
 protected:
  void restart() { pool_ = create_carved_pool(host_.range(), device_.c_str()).value(); }
  std::byte at(std::uint64_t address) {
    const Fd file = Fd::open(device_.c_str(), O_RDONLY).value();
    std::byte byte{};
    EXPECT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(address)), 1);
    return byte;
  }

  FakeHost host_;
  std::string device_ = host_.device();
  std::unique_ptr<FramePool> pool_ = create_carved_pool(host_.range(), device_.c_str()).value();
};

TEST_F(CarvedPoolTest, HandsOutNothingThatMayHoldOldData) {
  EXPECT_TRUE(pool_->starts_unscrubbed());
  EXPECT_EQ(pool_->open_extent(run_of(1, 2), Open::kNew).error().code, Errc::kExists);
  EXPECT_EQ(map(pool_->open_extent(run_of(1, 2), Open::kExisting).value()).bytes()[0],
            std::byte{0xee})
      << "the control: there is old data";
  ASSERT_TRUE(pool_->scrub(run_of(1, 1)));
  EXPECT_FALSE(pool_->open_extent(run_of(1, 2), Open::kNew)) << "half of it";
  ASSERT_TRUE(pool_->scrub(run_of(2, 1)));
  const Extent extent = pool_->open_extent(run_of(1, 2), Open::kNew).value();
  EXPECT_TRUE(holds_only(extent, std::byte{0}));
  EXPECT_EQ(extent.file_offset, FakeHost::kBase + kFrameSize);
  EXPECT_EQ(extent.backing, Backing::kCarved);
  EXPECT_EQ(pool_->open_extent(run_of(1, 2), Open::kNew).error().code, Errc::kExists)
      << "it may have been written since";
}

TEST_F(CarvedPoolTest, WhatIsRemovedUnscrubbedStaysReadable) {
  ASSERT_TRUE(pool_->scrub(run_of(0, 2)));
  write_pattern(pool_->open_extent(run_of(0, 2), Open::kNew).value());
  ASSERT_TRUE(pool_->remove(run_of(0, 2)));
  EXPECT_EQ(map(pool_->open_extent(run_of(0, 2), Open::kExisting).value()).bytes()[0],
            std::byte{0xa5})
      << "the control: removing alone destroys nothing";
  EXPECT_FALSE(pool_->open_extent(run_of(0, 2), Open::kNew)) << "which is why this is refused";
  ASSERT_TRUE(pool_->scrub(run_of(0, 2)));
  EXPECT_TRUE(holds_only(pool_->open_extent(run_of(0, 2), Open::kNew).value(), std::byte{0}));
}

TEST_F(CarvedPoolTest, ScrubsEveryByteOfARunAndNoneBeside) {
  ASSERT_TRUE(pool_->scrub(run_of(0, pool_->frames())));
  EXPECT_EQ(at(FakeHost::kBase - 1), std::byte{0xee});
  EXPECT_EQ(at(FakeHost::kBase), std::byte{0});
  EXPECT_EQ(at(FakeHost::kBase + FakeHost::kSize - 1), std::byte{0});
  EXPECT_EQ(at(FakeHost::kBase + FakeHost::kSize), std::byte{0xee});
  EXPECT_TRUE(holds_only(pool_->open_extent(run_of(0, 32), Open::kNew).value(), std::byte{0}));
}

TEST_F(CarvedPoolTest, ForgetsWhatItScrubbedWhenItStartsAgain) {
  ASSERT_TRUE(pool_->scrub(run_of(0, 1)));
  restart();
  EXPECT_FALSE(pool_->open_extent(run_of(0, 1), Open::kNew));
  EXPECT_TRUE(pool_->open_extent(run_of(0, 1), Open::kExisting));
  EXPECT_EQ(pool_->existing().value(), Runs{});
  EXPECT_EQ(pool_->held(run_of(0, 1)).error().code, Errc::kUnsupported);
}

TEST_F(CarvedPoolTest, RefusesFramesThatItDoesNotHave) {
  for (const FrameRun& run : {run_of(0, 0), run_of(32, 1), run_of(31, 2), run_of(~0ULL, 2)}) {
    EXPECT_EQ(pool_->open_extent(run, Open::kExisting).error().code, Errc::kOutOfRange);
    EXPECT_EQ(pool_->scrub(run).error().code, Errc::kOutOfRange);
  }
  EXPECT_FALSE(create_carved_pool(host_.range(), (device_ + " absent").c_str()));
}

}  // namespace
}  // namespace bulkhead
