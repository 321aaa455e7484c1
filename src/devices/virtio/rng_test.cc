// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/rng.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "devices/fakes_for_test.h"
#include "devices/virtio/driver_for_test.h"

namespace bulkhead {
namespace {

class VirtioRngTest : public testing::Test {
 protected:
  VirtioRngTest() {
    loop_ = EventLoop::create().value();
    rng_ = VirtioRng::create(driver_.space(), *loop_).value();
    EXPECT_TRUE(driver_.start(*rng_));
  }

  TestDriver driver_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<VirtioRng> rng_;
};

TEST_F(VirtioRngTest, FillsBuffers) {
  const DmaSegment first = driver_.allocate(32);
  const DmaSegment second = driver_.allocate(300);
  driver_.add(0, {}, {first, second});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_EQ(driver_.take_used(0)->length, 332u);
  EXPECT_EQ(driver_.interrupts().used[0], 1);
  const std::vector<std::byte> bytes = driver_.get(second);
  // 300 bytes with fewer than 64 values: once in 10^70.
  std::vector<std::byte> values = bytes;
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  EXPECT_GT(values.size(), 64u);
}

TEST_F(VirtioRngTest, TwoRequestsDiffer) {
  const DmaSegment first = driver_.allocate(32);
  const DmaSegment second = driver_.allocate(32);
  driver_.add(0, {}, {first});
  driver_.add(0, {}, {second});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_NE(driver_.get(first), driver_.get(second));
}

TEST_F(VirtioRngTest, LargeRequestsGetSomeBytes) {
  driver_.add(0, {}, {DmaSegment{DmaAddr(8 * kMiB), 32 * kMiB}});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_EQ(driver_.take_used(0)->length, VirtioRng::kMaxRequestBytes);
  EXPECT_EQ(driver_.get_value<std::uint64_t>(
                {DmaAddr(8 * kMiB + VirtioRng::kMaxRequestBytes), sizeof(std::uint64_t)}),
            0u);
}

TEST_F(VirtioRngTest, ManyRequestsTakeSeveralTurnsOfTheLoop) {
  for (int i = 0; i < 16; ++i) driver_.add(0, {}, {driver_.allocate(4096)});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_LT(driver_.used_index(0), 16);
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(driver_.used_index(0), 16);
}

TEST_F(VirtioRngTest, RequestsWithoutRoomAreGivenBack) {
  driver_.add(0, {driver_.put_text("seed")}, {});
  driver_.add(0, {}, {DmaSegment{driver_.allocate(1).address, 0}});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_EQ(driver_.take_used(0)->length, 0u);
  EXPECT_EQ(driver_.take_used(0)->length, 0u);
}

TEST_F(VirtioRngTest, UnwritableBufferBreaksTheDevice) {
  driver_.add(0, {}, {DmaSegment{DmaAddr(TestDriver::kMemorySize - 8), 16}});
  EXPECT_FALSE(driver_.ring(0));
  EXPECT_EQ(driver_.used_index(0), 0);
}

TEST_F(VirtioRngTest, HasNoConfiguration) {
  std::uint64_t value = ~std::uint64_t{0};
  rng_->read_config(0, std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_EQ(value, 0u);
}

TEST_F(VirtioRngTest, SaveAndRestore) {
  const std::vector<std::byte> state = state_of(*rng_);
  EXPECT_TRUE(restore_state(*rng_, state));
  EXPECT_FALSE(restore_state(*rng_, std::span(state).first(3)));
  const std::vector<std::byte> bad(4, std::byte{7});
  EXPECT_FALSE(restore_state(*rng_, bad));
}

}  // namespace
}  // namespace bulkhead
