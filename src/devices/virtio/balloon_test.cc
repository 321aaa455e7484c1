// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/balloon.h"

#include <gtest/gtest.h>

#include <numeric>

#include "devices/fakes_for_test.h"
#include "devices/virtio/driver_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint16_t kInflate = 0;
constexpr std::uint16_t kDeflate = 1;
constexpr std::uint32_t kRamPages = TestDriver::kMemorySize / VirtioBalloon::kPageBytes;
constexpr std::uint32_t kFirstPage = 8192;  // 32 MiB: where the tests' pages lie

class VirtioBalloonTest : public testing::Test {
 protected:
  VirtioBalloonTest() {
    loop_ = EventLoop::create().value();
    balloon_ = VirtioBalloon::create(driver_.space(), *loop_, kRamPages).value();
    EXPECT_TRUE(driver_.start(*balloon_));
  }
  // Makes a page recognisable, and tells whether it still is.
  void mark(std::uint32_t page) {
    ASSERT_TRUE(driver_.memory().store<std::uint64_t>(address(page), page + 1ULL));
  }
  bool marked(std::uint32_t page) {
    return driver_.memory().load<std::uint64_t>(address(page)).value() == page + 1ULL;
  }
  void mark_all() {
    for (std::uint32_t page = kFirstPage; page < kFirstPage + 600; ++page) mark(page);
  }
  static Gpa address(std::uint32_t page) {
    return Gpa(std::uint64_t{page} * VirtioBalloon::kPageBytes);
  }
  static DmaSegment pages(std::uint32_t first, std::uint32_t count) {
    return {DmaAddr(address(first).value()), count * VirtioBalloon::kPageBytes};
  }
  DmaSegment list(std::span<const std::uint32_t> numbers) {
    return driver_.put(std::as_bytes(numbers));
  }
  DmaSegment list(std::initializer_list<std::uint32_t> numbers) {
    return list(std::span(numbers.begin(), numbers.size()));
  }
  std::uint64_t discarded_pages() {
    return balloon_->counters().discarded_bytes / VirtioBalloon::kPageBytes;
  }
  std::uint32_t config(std::uint64_t offset) {
    std::uint32_t value = 0;
    balloon_->read_config(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  TestDriver driver_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<VirtioBalloon> balloon_;
};

TEST_F(VirtioBalloonTest, InflatedPagesGoBackToTheHost) {
  mark_all();
  driver_.add(kInflate, {list({kFirstPage + 3, kFirstPage + 1, kFirstPage + 2, kFirstPage + 9})},
              {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_TRUE(marked(kFirstPage));
  for (const std::uint32_t page : {1U, 2U, 3U, 9U}) EXPECT_FALSE(marked(kFirstPage + page));
  for (const std::uint32_t page : {4U, 8U, 10U}) EXPECT_TRUE(marked(kFirstPage + page));
  EXPECT_EQ(discarded_pages(), 4u);
  EXPECT_TRUE(driver_.take_used(kInflate));
  EXPECT_EQ(driver_.interrupts().used[kInflate], 1);
}

TEST_F(VirtioBalloonTest, LongListsInSeveralSegments) {
  mark_all();
  std::vector<std::uint32_t> numbers(600);
  std::iota(numbers.rbegin(), numbers.rend(), kFirstPage);  // downwards, as Linux often does
  driver_.add(kInflate,
              {list(std::span(numbers).first(100)), list(std::span(numbers).subspan(100))}, {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_EQ(discarded_pages(), 600u);
  for (const std::uint32_t page : numbers) EXPECT_FALSE(marked(page));
}

TEST_F(VirtioBalloonTest, FirstAndLastPageOfRam) {
  mark(0);
  mark(kRamPages - 1);
  driver_.add(kInflate, {list({kRamPages - 1, 0})}, {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_FALSE(marked(0));
  EXPECT_FALSE(marked(kRamPages - 1));
  EXPECT_EQ(discarded_pages(), 2u);
}

TEST_F(VirtioBalloonTest, PagesOutsideOfRamAndDuplicatesArePassedOver) {
  mark_all();
  driver_.add(kInflate,
              {list({0xffffffff, kRamPages, kFirstPage, kFirstPage, kRamPages + 1, kFirstPage + 1,
                     kFirstPage, 0x100000})},
              {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_EQ(discarded_pages(), 2u);
  EXPECT_FALSE(marked(kFirstPage));
  EXPECT_FALSE(marked(kFirstPage + 1));
  EXPECT_TRUE(driver_.take_used(kInflate));
  EXPECT_EQ(driver_.interrupts().resets_wanted, 0);
}

TEST_F(VirtioBalloonTest, HugeListIsCut) {
  // 16 MiB of zeros: page 0, four million times.
  driver_.add(kInflate, {DmaSegment{DmaAddr(32 * kMiB), 16 * kMiB}}, {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_EQ(discarded_pages(), VirtioBalloon::kMaxRequestPages / 256);
  EXPECT_TRUE(driver_.take_used(kInflate));
}

TEST_F(VirtioBalloonTest, ListThatEndsWithinANumber) {
  mark_all();
  DmaSegment segment = list({kFirstPage, kFirstPage + 1});
  segment.length = 7;
  driver_.add(kInflate, {segment}, {});
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_FALSE(marked(kFirstPage));
  EXPECT_TRUE(marked(kFirstPage + 1));
}

TEST_F(VirtioBalloonTest, UnreadableListBreaksTheDevice) {
  driver_.add(kInflate, {DmaSegment{DmaAddr(TestDriver::kMemorySize - 2), 4}}, {});
  EXPECT_FALSE(driver_.ring(kInflate));
}

TEST_F(VirtioBalloonTest, DeflationIsAcknowledged) {
  driver_.add(kDeflate, {list({kFirstPage})}, {});
  ASSERT_TRUE(driver_.ring(kDeflate));
  EXPECT_TRUE(driver_.take_used(kDeflate));
  EXPECT_EQ(discarded_pages(), 0u);
}

// Drivers disagree about the index of the queue.
TEST_F(VirtioBalloonTest, ReportedPagesGoBackToTheHost) {
  for (std::uint16_t queue = 2; queue <= 4; ++queue) {
    mark_all();
    driver_.add(queue, {}, {pages(kFirstPage, 512), pages(kFirstPage + 520, 8)});
    ASSERT_TRUE(driver_.ring(queue));
    EXPECT_FALSE(marked(kFirstPage));
    EXPECT_FALSE(marked(kFirstPage + 511));
    EXPECT_TRUE(marked(kFirstPage + 512));
    EXPECT_FALSE(marked(kFirstPage + 527));
    EXPECT_TRUE(marked(kFirstPage + 528));
    EXPECT_EQ(driver_.take_used(queue)->length, 0u);
  }
}

TEST_F(VirtioBalloonTest, ReportsTouchWholePagesOnly) {
  mark_all();
  const DmaSegment all = pages(kFirstPage, 3);
  driver_.add(2, {}, {DmaSegment{all.address + 16, all.length - 32}});
  ASSERT_TRUE(driver_.ring(2));
  EXPECT_TRUE(marked(kFirstPage));
  EXPECT_FALSE(marked(kFirstPage + 1));
  EXPECT_TRUE(marked(kFirstPage + 2));
}

TEST_F(VirtioBalloonTest, ReportsOutsideOfRamArePassedOver) {
  mark_all();
  driver_.add(2, {pages(kFirstPage, 1)},  // readable: not a report
              {pages(kRamPages - 1, 2), pages(kRamPages, 1),
               DmaSegment{DmaAddr(~std::uint64_t{0} - 8191), 4096}, pages(kFirstPage + 1, 1)});
  ASSERT_TRUE(driver_.ring(2));
  EXPECT_TRUE(marked(kFirstPage));
  EXPECT_FALSE(marked(kFirstPage + 1));
  EXPECT_EQ(discarded_pages(), 1u);
  EXPECT_TRUE(driver_.take_used(2));
}

TEST_F(VirtioBalloonTest, ReportingMustBeNegotiated) {
  driver_.reset();
  mark_all();
  {
    MutexLock lock(balloon_->lock());
    ASSERT_TRUE(balloon_->activate(
        {.features = 0, .queues = driver_.queues(), .interrupts = driver_.interrupts()}));
  }
  driver_.add(2, {}, {pages(kFirstPage, 1)});
  ASSERT_TRUE(driver_.ring(2));
  EXPECT_TRUE(marked(kFirstPage));
}

TEST_F(VirtioBalloonTest, ManyRequestsTakeSeveralTurnsOfTheLoop) {
  for (int i = 0; i < 16; ++i) {
    driver_.add(kInflate, {DmaSegment{DmaAddr(32 * kMiB), 4096}}, {});
  }
  ASSERT_TRUE(driver_.ring(kInflate));
  EXPECT_LT(driver_.used_index(kInflate), 16);
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(driver_.used_index(kInflate), 16);
}

TEST_F(VirtioBalloonTest, TargetAndActualSize) {
  ASSERT_TRUE(balloon_->set_target_pages(1000));
  EXPECT_EQ(driver_.interrupts().config_changes, 1);
  EXPECT_EQ(config(0), 1000u);
  const std::uint32_t actual = 640;
  balloon_->write_config(4, std::as_bytes(std::span(&actual, 1)));
  EXPECT_EQ(config(4), 640u);
  EXPECT_EQ(balloon_->counters().actual_pages, 640u);
  EXPECT_FALSE(balloon_->set_target_pages(kRamPages + 1ULL));
  EXPECT_FALSE(balloon_->set_target_pages(~std::uint64_t{0}));
  EXPECT_EQ(balloon_->counters().target_pages, 1000u);
}

TEST_F(VirtioBalloonTest, DriverCannotWriteTheTarget) {
  const std::uint64_t both = ~std::uint64_t{0};
  balloon_->write_config(0, std::as_bytes(std::span(&both, 1)));
  balloon_->write_config(2, std::as_bytes(std::span(&both, 1)));
  EXPECT_EQ(config(0), 0u);
  EXPECT_EQ(config(4), 0u);
  EXPECT_EQ(config(8), 0u);
}

TEST_F(VirtioBalloonTest, SaveAndRestore) {
  ASSERT_TRUE(balloon_->set_target_pages(77));
  auto other = VirtioBalloon::create(driver_.space(), *loop_, kRamPages).value();
  const std::vector<std::byte> state = state_of(*balloon_);
  ASSERT_TRUE(restore_state(*other, state));
  EXPECT_EQ(other->counters().target_pages, 77u);
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(*other, std::span(state).first(length)));
  }
  std::vector<std::byte> bad = state;
  bad[7] = std::byte{0xff};  // a target beyond all memory
  EXPECT_FALSE(restore_state(*other, bad));
}

TEST(VirtioBalloon, RefusesMoreMemoryThanItCanCount) {
  TestDriver driver;
  auto loop = EventLoop::create().value();
  EXPECT_FALSE(VirtioBalloon::create(driver.space(), *loop, std::uint64_t{1} << 32));
}

}  // namespace
}  // namespace bulkhead
