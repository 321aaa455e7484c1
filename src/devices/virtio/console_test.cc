// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/console.h"

#include <gtest/gtest.h>

#include <string>

#include "devices/fakes_for_test.h"
#include "devices/virtio/driver_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint16_t kReceive = 0;
constexpr std::uint16_t kTransmit = 1;

class VirtioConsoleTest : public testing::Test {
 protected:
  VirtioConsoleTest() {
    loop_ = EventLoop::create().value();
    console_ = VirtioConsole::create(driver_.space(), *loop_, backend_).value();
  }
  void start() { ASSERT_TRUE(driver_.start(*console_)); }
  std::string text_of(const DmaSegment& segment, std::size_t length) {
    const std::vector<std::byte> bytes = driver_.get(segment);
    return {reinterpret_cast<const char*>(bytes.data()), length};
  }
  template <class T>
  T config(std::uint64_t offset) {
    T value{};
    console_->read_config(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  TestDriver driver_;
  std::unique_ptr<EventLoop> loop_;
  FakeConsole backend_;
  std::unique_ptr<VirtioConsole> console_;
};

TEST_F(VirtioConsoleTest, WritesOutWhatTheDriverSends) {
  start();
  driver_.add(kTransmit, {driver_.put_text("hello "), driver_.put_text("world")}, {});
  driver_.add_indirect(kTransmit, {driver_.put_text("\n")}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.output, "hello world\n");
  EXPECT_EQ(driver_.take_used(kTransmit)->length, 0u);
  EXPECT_TRUE(driver_.take_used(kTransmit));
  EXPECT_FALSE(driver_.take_used(kTransmit));
  EXPECT_EQ(driver_.interrupts().used[kTransmit], 1);
  EXPECT_TRUE(driver_.doorbell_wanted(kTransmit));
}

TEST_F(VirtioConsoleTest, OneCopyPerRequest) {
  start();
  driver_.add(kTransmit, {driver_.put_text(std::string(1000, 'x'))}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.writes, 1);
}

TEST_F(VirtioConsoleTest, PlacesInputInBuffers) {
  start();
  const DmaSegment first = driver_.allocate(4);
  const DmaSegment second = driver_.allocate(64);
  driver_.add(kReceive, {}, {first});
  driver_.add(kReceive, {}, {second});
  ASSERT_TRUE(driver_.ring(kReceive));
  EXPECT_EQ(backend_.type("abcdef"), 6u);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 4u);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 2u);
  EXPECT_EQ(text_of(first, 4), "abcd");
  EXPECT_EQ(text_of(second, 2), "ef");
  EXPECT_EQ(driver_.interrupts().used[kReceive], 1);
  EXPECT_EQ(backend_.ready_calls, 0);
}

TEST_F(VirtioConsoleTest, InputWaitsForBuffers) {
  EXPECT_EQ(backend_.type("ab"), 0u);  // no driver yet
  start();
  EXPECT_EQ(backend_.type("ab"), 0u);
  EXPECT_TRUE(driver_.doorbell_wanted(kReceive));
  const DmaSegment buffer = driver_.allocate(1);
  driver_.add(kReceive, {}, {buffer});
  ASSERT_TRUE(driver_.ring(kReceive));
  EXPECT_EQ(backend_.ready_calls, 1);
  EXPECT_EQ(backend_.type("ab"), 1u);
  EXPECT_EQ(backend_.type(""), 0u);
}

TEST_F(VirtioConsoleTest, ConfigurationShowsTheSize) {
  EXPECT_EQ(config<std::uint32_t>(0), 25u << 16 | 80);
  EXPECT_EQ(config<std::uint32_t>(4), 1u);  // ports
  console_->resize({.columns = 132, .rows = 43});
  EXPECT_EQ(driver_.interrupts().config_changes, 0);
  start();
  console_->resize({.columns = 200, .rows = 50});
  EXPECT_EQ(driver_.interrupts().config_changes, 1);
  EXPECT_EQ(config<std::uint16_t>(0), 200);
  EXPECT_EQ(config<std::uint16_t>(2), 50);
  EXPECT_EQ(config<std::uint64_t>(8), 0u);
  EXPECT_EQ(config<std::uint8_t>(~std::uint64_t{0}), 0);
}

TEST_F(VirtioConsoleTest, EmergencyWriteNeedsNoQueue) {
  const std::uint32_t value = 0x4142'4321;
  console_->write_config(8, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(backend_.output, "!");
  console_->write_config(0, std::as_bytes(std::span(&value, 1)));
  console_->write_config(9, std::as_bytes(std::span(&value, 1)));
  EXPECT_EQ(backend_.output, "!");
}

TEST_F(VirtioConsoleTest, UnreadableOutputBreaksTheDevice) {
  start();
  driver_.add(kTransmit, {DmaSegment{DmaAddr(TestDriver::kMemorySize - 4), 8}}, {});
  EXPECT_FALSE(driver_.ring(kTransmit));
  driver_.add(kTransmit, {driver_.put_text("late")}, {});
  EXPECT_TRUE(driver_.ring(kTransmit));  // ignored until a reset
  EXPECT_EQ(backend_.output, "");
  driver_.reset();
  start();
  driver_.add(kTransmit, {driver_.put_text("again")}, {});
  EXPECT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.output, "again");
}

TEST_F(VirtioConsoleTest, UnwritableInputBufferBreaksTheDevice) {
  start();
  driver_.add(kReceive, {}, {DmaSegment{DmaAddr(TestDriver::kMemorySize), 8}});
  EXPECT_EQ(backend_.type("abc"), 0u);
  EXPECT_EQ(driver_.interrupts().resets_wanted, 1);
  EXPECT_EQ(backend_.type("abc"), 0u);
  EXPECT_EQ(driver_.interrupts().resets_wanted, 1);
}

TEST_F(VirtioConsoleTest, RequestsOfTheWrongDirectionAreGivenBack) {
  start();
  driver_.add(kTransmit, {}, {driver_.allocate(16)});
  driver_.add(kReceive, {driver_.put_text("no room")}, {});
  driver_.add(kReceive, {}, {driver_.allocate(4)});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.type("abc"), 3u);
  EXPECT_EQ(driver_.take_used(kTransmit)->length, 0u);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 0u);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 3u);
  EXPECT_EQ(backend_.output, "");
}

TEST_F(VirtioConsoleTest, OverlongOutputIsCut) {
  start();
  driver_.add(kTransmit, {DmaSegment{DmaAddr(0), 32 * kMiB}}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.output.size(), 1 * kMiB);
  EXPECT_TRUE(driver_.take_used(kTransmit));
}

TEST_F(VirtioConsoleTest, MuchOutputTakesSeveralTurnsOfTheLoop) {
  start();
  for (int i = 0; i < 10; ++i) {
    driver_.add(kTransmit, {DmaSegment{DmaAddr(0), 100 * kKiB}}, {});
  }
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(backend_.output.size(), 300 * kKiB);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(backend_.output.size(), 1000 * kKiB);
  EXPECT_TRUE(driver_.doorbell_wanted(kTransmit));
}

TEST_F(VirtioConsoleTest, ErrorInALaterTurnReachesTheDriver) {
  start();
  driver_.add(kTransmit, {DmaSegment{DmaAddr(0), 512 * kKiB}}, {});
  driver_.add(kTransmit, {DmaSegment{DmaAddr(TestDriver::kMemorySize), 1}}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(driver_.interrupts().resets_wanted, 0);
  ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(driver_.interrupts().resets_wanted, 1);
}

TEST_F(VirtioConsoleTest, ResetCancelsWhatIsLeft) {
  start();
  for (int i = 0; i < 10; ++i) {
    driver_.add(kTransmit, {DmaSegment{DmaAddr(0), 100 * kKiB}}, {});
  }
  ASSERT_TRUE(driver_.ring(kTransmit));
  driver_.reset();
  ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(backend_.output.size(), 300 * kKiB);
  EXPECT_EQ(backend_.type("abc"), 0u);
}

TEST_F(VirtioConsoleTest, SaveAndRestore) {
  console_->resize({.columns = 7, .rows = 9});
  FakeConsole backend;
  auto other = VirtioConsole::create(driver_.space(), *loop_, backend).value();
  const std::vector<std::byte> state = state_of(*console_);
  ASSERT_TRUE(restore_state(*other, state));
  EXPECT_EQ(state_of(*other), state);
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(*other, std::span(state).first(length)));
  }
}

TEST_F(VirtioConsoleTest, DisconnectsWhenItGoes) {
  EXPECT_TRUE(backend_.connected());
  console_.reset();
  EXPECT_FALSE(backend_.connected());
}

}  // namespace
}  // namespace bulkhead
