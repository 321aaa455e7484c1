// SPDX-License-Identifier: Apache-2.0
#include "devices/pvpanic.h"

#include <gtest/gtest.h>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

TEST(PvpanicRegister, TellsWhichEventsItKnows) {
  FakePower power;
  PvpanicRegister device(power);
  EXPECT_EQ(device_read<std::uint8_t>(device, 0), 0x03);
  EXPECT_EQ(device_read<std::uint32_t>(device, 0), 0x03u);
  EXPECT_EQ(device_read<std::uint8_t>(device, 1), 0);
  EXPECT_EQ(device_read<std::uint64_t>(device, 4088), 0u);
}

TEST(PvpanicRegister, ReportsEvents) {
  FakePower power;
  PvpanicRegister device(power);
  device_write<std::uint8_t>(device, 0, 0x02);
  EXPECT_EQ(power.crashes_loaded, 1);
  EXPECT_EQ(power.panics, 0);
  device_write<std::uint8_t>(device, 0, 0x01);
  device_write<std::uint8_t>(device, 0, 0x03);
  EXPECT_EQ(power.panics, 2);
  EXPECT_EQ(power.crashes_loaded, 1);
  device_write<std::uint8_t>(device, 0, 0xfc);  // unknown
  device_write<std::uint8_t>(device, 1, 0x01);  // not the register
  EXPECT_EQ(power.total(), 3);
}

TEST(Pvpanic, IsAPciFunctionWithTheRegisterInBar0) {
  FakePower power;
  Bus mmio(kGiB);
  Pvpanic function(power, mmio);
  std::uint32_t identity = 0;
  function.read_config(0, std::as_writable_bytes(std::span(&identity, 1)));
  EXPECT_EQ(identity, 0x0011'1b36u);
  function.assign_bar(Pvpanic::kBar, Gpa(0x10000));
  const std::uint16_t memory_on = 0x2;
  function.write_config(4, std::as_bytes(std::span(&memory_on, 1)));
  const std::byte panicked{1};
  EXPECT_TRUE(mmio.write(0x10000, std::span(&panicked, 1)));
  EXPECT_EQ(power.panics, 1);
}

TEST(Pvpanic, SaveAndRestore) {
  FakePower power;
  Bus mmio(kGiB);
  const std::uint16_t memory_on = 0x2;
  std::vector<std::byte> state;
  {
    Pvpanic function(power, mmio);
    function.assign_bar(Pvpanic::kBar, Gpa(0x10000));
    function.write_config(4, std::as_bytes(std::span(&memory_on, 1)));
    state = state_of(function);
  }
  Pvpanic other(power, mmio);
  ASSERT_TRUE(restore_state(other, state));
  const std::byte panicked{1};
  EXPECT_TRUE(mmio.write(0x10000, std::span(&panicked, 1)));
  EXPECT_EQ(power.panics, 1);
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(other, std::span(state).first(length)));
  }
}

}  // namespace
}  // namespace bulkhead
