// SPDX-License-Identifier: Apache-2.0
#include "vmm/sealing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "mem/private_frames.h"

namespace bulkhead {
namespace {

struct Outcomes : OutcomeSink {
  void finish(Outcome outcome) override { last = static_cast<int>(outcome); }
  std::atomic<int> last = -1;
};

// Memory files that pass for another backing, and can be looked into.
class Frames final : public FrameSource {
 public:
  explicit Frames(Backing backing) : backing_(backing) {}

  Result<Extent> take(std::uint64_t frames) override {
    Extent extent = TRY(source_->take(frames));
    extent.backing = backing_;
    files_.insert(extent.file.get());
    return extent;
  }
  void give_back(Extent extent) override {
    files_.erase(extent.file.get());
    extent.backing = Backing::kMemfd;
    source_->give_back(std::move(extent));
  }
  bool covers_host() const override { return false; }

  // What the host spends on all of it.
  std::uint64_t resident_bytes() const {
    std::uint64_t bytes = 0;
    for (const int file : files_) {
      struct stat status{};
      EXPECT_EQ(::fstat(file, &status), 0);
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    return bytes;
  }

 private:
  const Backing backing_;
  std::unique_ptr<PrivateFrames> source_ = PrivateFrames::create(Backing::kMemfd).value();
  std::set<int> files_;
};

// Boot memory and a unit, with different content in some pages. kMemfd is managed page by page,
// and kHugetlb copied.
class SealingTest : public testing::TestWithParam<Backing> {
 protected:
  static constexpr std::uint64_t kBoot = 64 * kMiB;

  void SetUp() override {
    if (GetParam() != Backing::kMemfd) return;
    const Result<UserFault> possible = UserFault::create();
    if (!possible) GTEST_SKIP() << possible.error().what;
  }
  std::unique_ptr<Sealing> make() {
    return Sealing::create(spec_, {.memory = *memory_, .outcome = outcomes_, .cpus = 2}).value();
  }
  Gpa unit() const { return memory_->unit_region(0).base; }
  std::vector<Gpa> samples() const {
    return {Gpa(0), Gpa(0x5000), Gpa(kBoot - 8), unit(), unit() + (kGrowthUnit - 8)};
  }
  void fill() {
    std::uint64_t value = 1;
    for (const Gpa at : samples()) ASSERT_TRUE(memory_->store<std::uint64_t>(at, value++));
  }
  void expect_filled() {
    std::uint64_t value = 1;
    for (const Gpa at : samples()) EXPECT_EQ(*memory_->load<std::uint64_t>(at), value++);
    EXPECT_EQ(*memory_->load<std::uint64_t>(Gpa(0x100000)), 0u);
  }
  void refuse_writes() { ASSERT_EQ(::fcntl(store_.get(), F_ADD_SEALS, F_SEAL_WRITE), 0); }

  Fd store_{::memfd_create("store", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  SealSpec spec_{.store_fd = store_.get()};
  Outcomes outcomes_;
  Frames frames_{GetParam()};
  std::unique_ptr<GuestMemory> memory_ =
      GuestMemory::create({.size_bytes = kBoot, .max_bytes = kBoot + kGrowthUnit}, frames_).value();
};

TEST_P(SealingTest, LeavesNothingInMemoryAndBringsItBack) {
  const auto sealing = make();
  ASSERT_TRUE(memory_->grow(0));
  for (int round = 0; round < 2; ++round) {
    fill();
    ASSERT_TRUE(sealing->seal_all());
    EXPECT_EQ(frames_.resident_bytes(), 0u);
    EXPECT_EQ(sealing->amounts()->resident_bytes, 0u);
    EXPECT_GE(sealing->amounts()->sealed_bytes, 5 * kPageSize);
    ASSERT_TRUE(sealing->open_all());
    expect_filled();
  }
}

TEST_P(SealingTest, MemoryThatCouldNotBeSealedIsStillThere) {
  const auto sealing = make();
  ASSERT_TRUE(memory_->grow(0));
  fill();
  refuse_writes();
  EXPECT_FALSE(sealing->seal_all());
  ASSERT_TRUE(sealing->open_all());
  expect_filled();
}

TEST_P(SealingTest, MemoryOutlivesIt) {
  auto sealing = make();
  ASSERT_TRUE(memory_->grow(0));
  ASSERT_TRUE(sealing->seal_all());
  ASSERT_TRUE(sealing->open_all());
  fill();
  sealing.reset();
  expect_filled();
  EXPECT_TRUE(memory_->discard(unit(), kGrowthUnit));
  EXPECT_EQ(*memory_->load<std::uint64_t>(unit()), 0u);
}

// Also a guest that uses all of its memory keeps it.
TEST_P(SealingTest, WithoutALimitNothingGoesByItself) {
  const auto sealing = make();
  ASSERT_TRUE(memory_->grow(0));
  ASSERT_TRUE(sealing->seal_all());
  ASSERT_TRUE(sealing->open_all());
  for (const Gpa base : {Gpa(0), unit()}) {
    const std::uint64_t bytes = base == Gpa(0) ? kBoot : kGrowthUnit;
    for (std::uint64_t at = 0; at < bytes; at += kPageSize) {
      ASSERT_TRUE(memory_->store<std::uint64_t>(base + at, 1));
    }
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(frames_.resident_bytes(), kBoot + kGrowthUnit);
}

TEST_P(SealingTest, AProcessorsData) {
  const auto sealing = make();
  const std::vector<std::byte> data(11000, std::byte{0x5a});
  ASSERT_TRUE(sealing->seal_processor(1, data));
  EXPECT_EQ(*sealing->open_processor(1), data);
  EXPECT_TRUE(sealing->open_processor(0)->empty());
}

using SealingDeathTest = SealingTest;

// As the monitor's main thread may, when it serves a device.
TEST_P(SealingDeathTest, WhoeverMustEndThePartitionMayWaitForAChangedPage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto end_by_changed_page = [this] {
    const auto sealing = Sealing::create(
        spec_, {.memory = *memory_, .outcome = outcomes_, .cpus = 1, .end_seconds = 1});
    CHECK(memory_->store<std::uint64_t>(Gpa(0), 1));
    CHECK((*sealing)->seal_all());
    CHECK((*sealing)->open_all());
    CHECK(::ftruncate(store_.get(), 0) == 0);
    (void)memory_->load<std::uint64_t>(Gpa(0));
  };
  EXPECT_EXIT(end_by_changed_page(), testing::KilledBySignal(SIGALRM), "sealed_page_refused");
}

INSTANTIATE_TEST_SUITE_P(PageByPage, SealingDeathTest, testing::Values(Backing::kMemfd));
INSTANTIATE_TEST_SUITE_P(, SealingTest, testing::Values(Backing::kMemfd, Backing::kHugetlb),
                         [](const auto& each) {
                           return each.param == Backing::kMemfd ? "PageByPage" : "ByCopy";
                         });

}  // namespace
}  // namespace bulkhead
