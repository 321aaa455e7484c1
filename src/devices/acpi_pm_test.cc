// SPDX-License-Identifier: Apache-2.0
#include "devices/acpi_pm.h"

#include <gtest/gtest.h>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kStatus = 0;
constexpr std::uint64_t kEnable = 2;
constexpr std::uint64_t kControl = 4;
constexpr std::uint64_t kTimer = 8;
constexpr std::uint64_t kReset = 12;
constexpr std::uint16_t kPowerButton = 0x100;

std::int64_t test_time_ns = 0;
std::int64_t test_time() {
  return test_time_ns;
}

class AcpiPmTest : public testing::Test {
 protected:
  AcpiPmTest() { test_time_ns = 0; }
  template <class T = std::uint16_t>
  T in(std::uint64_t offset) {
    return device_read<T>(pm_, offset);
  }
  template <class T = std::uint16_t>
  void out(std::uint64_t offset, T value) {
    device_write(pm_, offset, value);
  }

  FakeLine sci_;
  FakePower power_;
  AcpiPm pm_{sci_, power_, test_time};
};

TEST_F(AcpiPmTest, IsInAcpiModeFromTheStart) {
  EXPECT_EQ(in(kControl), 1);
  out<std::uint16_t>(kControl, 0);
  EXPECT_EQ(in(kControl), 1);
}

TEST_F(AcpiPmTest, PowersOffInS5Only) {
  for (unsigned type = 0; type < 8; ++type) {
    out(kControl, static_cast<std::uint16_t>(type << 10));  // without SLP_EN
    EXPECT_EQ(in(kControl), 1U | type << 10);
    if (type != acpi_pm::kSleepTypeS5)
      out(kControl, static_cast<std::uint16_t>(type << 10 | 0x2000));
  }
  EXPECT_EQ(power_.total(), 0);
  out<std::uint16_t>(kControl, 5 << 10 | 0x2000);
  EXPECT_EQ(power_.power_offs, 1);
  EXPECT_EQ(in(kControl), 1U | 5 << 10);  // SLP_EN is write-only
}

TEST_F(AcpiPmTest, PowersOffByTheHighByteAlone) {
  out<std::uint8_t>(kControl + 1, 5 << 2 | 0x20);
  EXPECT_EQ(power_.power_offs, 1);
}

TEST_F(AcpiPmTest, PowerButtonRaisesTheSciWhileEnabled) {
  pm_.press_power_button();
  EXPECT_EQ(in(kStatus), kPowerButton);
  EXPECT_FALSE(sci_.high);
  out(kEnable, kPowerButton);
  EXPECT_TRUE(sci_.high);
  out(kStatus, std::uint16_t{0x20});  // another bit
  EXPECT_TRUE(sci_.high);
  out(kStatus, kPowerButton);
  EXPECT_FALSE(sci_.high);
  EXPECT_EQ(in(kStatus), 0);
  pm_.press_power_button();
  EXPECT_TRUE(sci_.high);
  out(kEnable, std::uint16_t{0});
  EXPECT_FALSE(sci_.high);
}

TEST_F(AcpiPmTest, OnlyEventsThatExistCanBeEnabled) {
  out<std::uint16_t>(kEnable, 0xffff);
  EXPECT_EQ(in(kEnable), 0x720);
  out<std::uint8_t>(kEnable + 1, 0);
  EXPECT_EQ(in(kEnable), 0x020);
}

TEST_F(AcpiPmTest, StatusAndEnableInOneAccess) {
  pm_.press_power_button();
  EXPECT_EQ(in<std::uint32_t>(kStatus), 0x0000'0100u);
  out<std::uint32_t>(kStatus, 0x0100'0100);
  EXPECT_EQ(in<std::uint32_t>(kStatus), 0x0100'0000u);
  EXPECT_FALSE(sci_.high);
}

TEST_F(AcpiPmTest, TimerRunsAt3579545Hz) {
  EXPECT_EQ(in<std::uint32_t>(kTimer), 0u);
  test_time_ns = kNanosecondsPerSecond;
  EXPECT_EQ(in<std::uint32_t>(kTimer), 3'579'545u);
  test_time_ns = kNanosecondsPerSecond / 2;
  EXPECT_EQ(in<std::uint32_t>(kTimer), 1'789'772u);
  // A century, modulo 2^32: nothing overflows on the way.
  test_time_ns = 100LL * 365 * 86'400 * kNanosecondsPerSecond;
  EXPECT_EQ(in<std::uint32_t>(kTimer),
            static_cast<std::uint32_t>(std::uint64_t{100} * 365 * 86'400 * 3'579'545));
  out<std::uint32_t>(kTimer, 7);  // read-only
  EXPECT_NE(in<std::uint32_t>(kTimer), 7u);
}

TEST_F(AcpiPmTest, ResetRegister) {
  out<std::uint8_t>(kReset, acpi_pm::kResetValue - 1);
  EXPECT_EQ(power_.total(), 0);
  out<std::uint8_t>(kReset, acpi_pm::kResetValue);
  EXPECT_EQ(power_.resets, 1);
  EXPECT_EQ(in<std::uint8_t>(kReset), 0);
}

TEST_F(AcpiPmTest, OneAccessAsksForOneThing) {
  out<std::uint64_t>(kControl + 1, 0x01'0000'0000'0000'00 | 5 << 2 | 0x20);
  EXPECT_EQ(power_.total(), 1);
  EXPECT_EQ(power_.power_offs, 1);
}

TEST_F(AcpiPmTest, RestoreKeepsTheTimerGoing) {
  test_time_ns = 10 * kNanosecondsPerSecond;
  out(kEnable, kPowerButton);
  pm_.press_power_button();
  const std::vector<std::byte> state = state_of(pm_);
  test_time_ns = 2 * kNanosecondsPerSecond;  // another host
  FakeLine sci;
  AcpiPm other(sci, power_, test_time);
  ASSERT_TRUE(restore_state(other, state));
  EXPECT_TRUE(sci.high);
  EXPECT_EQ(device_read<std::uint32_t>(other, kTimer), 35'795'450u);
  test_time_ns = 3 * kNanosecondsPerSecond;
  EXPECT_EQ(device_read<std::uint32_t>(other, kTimer), 39'374'995u);
}

TEST_F(AcpiPmTest, RefusesDamagedState) {
  const std::vector<std::byte> good = state_of(pm_);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(restore_state(pm_, std::span(good).first(length)));
  }
  for (std::size_t place = 0; place < 10; ++place) {
    std::vector<std::byte> bad = good;
    bad[place] = std::byte{0xff};
    EXPECT_FALSE(restore_state(pm_, bad)) << place;
  }
}

TEST(AcpiPm, MonotonicClockAdvances) {
  const std::int64_t before = monotonic_ns();
  EXPECT_GE(monotonic_ns(), before);
}

}  // namespace
}  // namespace bulkhead
