// SPDX-License-Identifier: Apache-2.0
#include "devices/reset_ports.h"

#include <gtest/gtest.h>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

class ResetPortsTest : public testing::Test {
 protected:
  FakePower power_;
  ResetControl control_{power_};
  I8042 keyboard_{power_};
};

// Linux, BOOT_CF9: system reset first, then the CPU's bit.
TEST_F(ResetPortsTest, ResetControlResetsOnTheEdge) {
  device_write<std::uint8_t>(control_, 0, 0x02);
  EXPECT_EQ(power_.total(), 0);
  device_write<std::uint8_t>(control_, 0, 0x06);
  EXPECT_EQ(power_.resets, 1);
  device_write<std::uint8_t>(control_, 0, 0x06);  // no edge
  EXPECT_EQ(power_.resets, 1);
  EXPECT_EQ(device_read<std::uint8_t>(control_, 0), 0x06);
  device_write<std::uint8_t>(control_, 0, 0xf0);
  EXPECT_EQ(device_read<std::uint32_t>(control_, 0), 0u);
}

TEST_F(ResetPortsTest, KeyboardControllerPulsesReset) {
  for (const unsigned command : {0xfeU, 0xf0U, 0xfcU}) {
    device_write(keyboard_, 4, static_cast<std::uint8_t>(command));
  }
  EXPECT_EQ(power_.resets, 3);
  for (const unsigned command : {0xffU, 0xaaU, 0xd1U, 0x20U, 0xeeU}) {
    device_write(keyboard_, 4, static_cast<std::uint8_t>(command));
  }
  device_write<std::uint8_t>(keyboard_, 0, 0xfe);  // the data port
  EXPECT_EQ(power_.total(), 3);
}

// Linux's kb_wait() waits for "input buffer full" to clear before it resets.
TEST_F(ResetPortsTest, KeyboardControllerIsAlwaysReadyForCommands) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(device_read<std::uint8_t>(keyboard_, 4) & 0x02, 0);
    device_read<std::uint8_t>(keyboard_, 0);
  }
}

// Linux's i8042_flush() gives up after 16 bytes; FreeBSD's empty_both_buffers() reads all of them.
TEST_F(ResetPortsTest, MeaninglessBytesEnd) {
  int count = 0;
  while (count < 1000 && (device_read<std::uint8_t>(keyboard_, 4) & 0x01) != 0) {
    device_read<std::uint8_t>(keyboard_, 0);
    ++count;
  }
  EXPECT_GT(count, 16);
  EXPECT_LT(count, 100);
}

TEST_F(ResetPortsTest, PortsBetweenAreNobodys) {
  EXPECT_EQ(device_read<std::uint8_t>(keyboard_, 1), 0xff);
  EXPECT_EQ(device_read<std::uint16_t>(keyboard_, 2), 0xffff);
  device_write<std::uint32_t>(keyboard_, 0, 0xfefefefe);
  EXPECT_EQ(power_.total(), 0);
}

TEST_F(ResetPortsTest, SaveAndRestore) {
  device_write<std::uint8_t>(control_, 0, 0x02);
  for (int i = 0; i < 100; ++i) device_read<std::uint8_t>(keyboard_, 0);
  ResetControl control(power_);
  I8042 keyboard(power_);
  ASSERT_TRUE(restore_state(control, state_of(control_)));
  ASSERT_TRUE(restore_state(keyboard, state_of(keyboard_)));
  EXPECT_EQ(device_read<std::uint8_t>(control, 0), 0x02);
  EXPECT_EQ(device_read<std::uint8_t>(keyboard, 4), 0);
}

TEST_F(ResetPortsTest, RefusesDamagedState) {
  for (Stateful* device : {static_cast<Stateful*>(&control_), static_cast<Stateful*>(&keyboard_)}) {
    const std::vector<std::byte> good = state_of(*device);
    for (std::size_t length = 0; length < good.size(); ++length) {
      EXPECT_FALSE(restore_state(*device, std::span(good).first(length)));
    }
    std::vector<std::byte> bad = good;
    bad[0] = std::byte{9};
    EXPECT_FALSE(restore_state(*device, bad));
  }
  std::vector<std::byte> bad = state_of(keyboard_);
  bad.back() = std::byte{255};
  EXPECT_FALSE(restore_state(keyboard_, bad));
}

}  // namespace
}  // namespace bulkhead
