// SPDX-License-Identifier: Apache-2.0
#include "devices/rtc.h"

#include <gtest/gtest.h>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint8_t kA = 10;
constexpr std::uint8_t kB = 11;
constexpr std::uint8_t kC = 12;
constexpr std::uint8_t kD = 13;
constexpr std::uint8_t kCentury = Rtc::kCenturyIndex;

std::int64_t test_time_ns = 0;

class RtcTest : public testing::Test {
 protected:
  // 2024-02-29 23:59:58 UTC, a Thursday, half past the second.
  static constexpr std::int64_t kLeapDay = 1709251198;

  RtcTest() { set_host_time(kLeapDay, 500'000'000); }
  static void set_host_time(std::int64_t seconds, std::int64_t ns = 0) {
    test_time_ns = seconds * kNanosecondsPerSecond + ns;
  }
  static std::int64_t host_time() { return test_time_ns; }

  std::uint8_t get(std::uint8_t index) { return get(rtc_, index); }
  static std::uint8_t get(Rtc& rtc, std::uint8_t index) {
    device_write(rtc, 0, index);
    return device_read<std::uint8_t>(rtc, 1);
  }
  void put(std::uint8_t index, unsigned value) {
    device_write(rtc_, 0, index);
    device_write(rtc_, 1, static_cast<std::uint8_t>(value));
  }
  // As a driver does: with updates held off.
  void set_time(std::initializer_list<std::pair<std::uint8_t, unsigned>> cells) {
    const std::uint8_t b = get(kB);
    put(kB, b | 0x80U);
    for (const auto& [index, value] : cells) put(index, value);
    put(kB, b);
  }
  void expect_date(unsigned century, unsigned year, unsigned month, unsigned day) {
    EXPECT_EQ(get(kCentury), century);
    EXPECT_EQ(get(9), year);
    EXPECT_EQ(get(8), month);
    EXPECT_EQ(get(7), day);
  }
  void expect_time(unsigned hour, unsigned minute, unsigned second) {
    EXPECT_EQ(get(4), hour);
    EXPECT_EQ(get(2), minute);
    EXPECT_EQ(get(0), second);
  }

  Rtc rtc_{host_time};
};

TEST_F(RtcTest, ShowsHostTimeInBcdAnd24Hours) {
  expect_date(0x20, 0x24, 0x02, 0x29);
  expect_time(0x23, 0x59, 0x58);
  EXPECT_EQ(get(6), 5);  // Thursday
  set_host_time(kLeapDay + 2);
  expect_date(0x20, 0x24, 0x03, 0x01);
  expect_time(0, 0, 0);
  EXPECT_EQ(get(6), 6);
}

TEST_F(RtcTest, BinaryAnd12HourModes) {
  put(kB, 0x06);  // binary, 24 hours
  expect_date(20, 24, 2, 29);
  expect_time(23, 59, 58);
  put(kB, 0x00);  // BCD, 12 hours
  EXPECT_EQ(get(4), 0x91);
  put(kB, 0x04);  // binary, 12 hours
  EXPECT_EQ(get(4), 0x8b);
  set_host_time(kLeapDay + 2);
  EXPECT_EQ(get(4), 12);  // midnight is 12 AM
  set_host_time(kLeapDay + 2 + 12 * 3600);
  EXPECT_EQ(get(4), 0x8c);  // noon is 12 PM
}

TEST_F(RtcTest, UpdateInProgressWarnsBeforeEachSecond) {
  EXPECT_EQ(get(kA), 0x26);
  set_host_time(kLeapDay, 999'755'999);
  EXPECT_EQ(get(kA), 0x26);
  set_host_time(kLeapDay, 999'756'000);
  EXPECT_EQ(get(kA), 0xa6);
  put(kB, 0x82);
  EXPECT_EQ(get(kA), 0x26);
}

TEST_F(RtcTest, GuestSetsTheTime) {
  set_time({{kCentury, 0x19}, {9, 0x99}, {8, 0x12}, {7, 0x31}, {4, 0x01}, {2, 0x02}, {0, 0x03}});
  expect_date(0x19, 0x99, 0x12, 0x31);
  expect_time(0x01, 0x02, 0x03);
  EXPECT_EQ(get(6), 6);  // a Friday, whatever the guest wrote
  set_host_time(kLeapDay + 60);
  expect_time(0x01, 0x03, 0x03);
}

TEST_F(RtcTest, GuestSetsTheTimeIn12HourMode) {
  put(kB, 0x00);
  set_time({{4, 0x12}, {2, 0}, {0, 0}});
  put(kB, 0x02);
  expect_time(0, 0, 0);
  put(kB, 0x00);
  set_time({{4, 0x92}});
  put(kB, 0x02);
  expect_time(0x12, 0, 0);
}

TEST_F(RtcTest, TimeStandsStillWhileItIsSet) {
  put(kB, 0x82);
  set_host_time(kLeapDay + 1000);
  expect_time(0x23, 0x59, 0x58);
  put(0, 0x11);
  EXPECT_EQ(get(0), 0x11);
}

TEST_F(RtcTest, WritesWithoutSetTakeEffectAtOnce) {
  put(2, 0x30);
  expect_time(0x23, 0x30, 0x58);
}

TEST_F(RtcTest, ImpossibleTimesAreNotAdopted) {
  set_time({{8, 0x02}, {7, 0x30}});
  expect_date(0x20, 0x24, 0x02, 0x29);
  set_time({{8, 0x1a}});
  set_time({{0, 0x60}});
  set_time({{4, 0x24}});
  set_time({{kCentury, 0xff}});
  set_time({{7, 0}});
  expect_date(0x20, 0x24, 0x02, 0x29);
  expect_time(0x23, 0x59, 0x58);
  put(kB, 0x06);
  set_time({{9, 255}});
  set_time({{8, 255}});
  expect_date(20, 24, 2, 29);
}

TEST_F(RtcTest, YearsFrom0To9999) {
  set_time({{kCentury, 0x99}, {9, 0x99}, {8, 0x12}, {7, 0x31}});
  expect_date(0x99, 0x99, 0x12, 0x31);
  set_host_time(kLeapDay + 10);
  EXPECT_EQ(get(kCentury), 0x99);  // and does not wrap to something that is no BCD
  set_time({{kCentury, 0}, {9, 0}, {8, 1}, {7, 1}});
  expect_date(0, 0, 1, 1);
}

TEST_F(RtcTest, RegisterCTellsUpdatesOnce) {
  EXPECT_EQ(get(kC), 0x10);
  EXPECT_EQ(get(kC), 0);
  set_host_time(kLeapDay + 1);
  put(kB, 0x12);
  EXPECT_EQ(get(kC), 0x90);
  EXPECT_EQ(get(kC), 0);
}

TEST_F(RtcTest, OtherCellsHoldWhatIsWritten) {
  for (const unsigned index : {1U, 3U, 5U, 14U, 15U, 127U}) {
    const auto cell = static_cast<std::uint8_t>(index);
    put(cell, 0xc0U + index % 16U);
    EXPECT_EQ(get(cell), 0xc0U + index % 16U);
  }
  put(kC, 0xff);
  put(kD, 0);
  put(kA, 0xff);
  EXPECT_EQ(get(kD), 0x80);
  EXPECT_EQ(get(kA), 0x7f);
}

TEST_F(RtcTest, IndexIsMaskedAndNotReadable) {
  put(127, 0x5a);
  device_write<std::uint8_t>(rtc_, 0, 0xff);  // 127, NMI off
  EXPECT_EQ(device_read<std::uint8_t>(rtc_, 1), 0x5a);
  EXPECT_EQ(device_read<std::uint8_t>(rtc_, 0), 0xff);
  device_write<std::uint16_t>(rtc_, 0, 0x660e);  // index and value at once
  EXPECT_EQ(get(14), 0x66);
  EXPECT_EQ(device_read<std::uint64_t>(rtc_, 1) & 0xffff, 0xff66u);
}

TEST_F(RtcTest, RestoresOffsetAndMemory) {
  put(20, 0x42);
  set_time({{2, 0x10}});
  Rtc other(host_time);
  ASSERT_TRUE(restore_state(other, state_of(rtc_)));
  EXPECT_EQ(get(other, 20), 0x42);
  set_host_time(kLeapDay + 300);
  EXPECT_EQ(get(other, 2), 0x15);
}

TEST_F(RtcTest, RefusesDamagedState) {
  const std::vector<std::byte> good = state_of(rtc_);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(restore_state(rtc_, std::span(good).first(length)));
  }
  for (const std::size_t place : {std::size_t{0}, std::size_t{4}, good.size() - 9}) {
    std::vector<std::byte> bad = good;
    bad[place] = std::byte{0x80};  // version, index, the offset's top byte
    EXPECT_FALSE(restore_state(rtc_, bad)) << place;
  }
}

TEST_F(RtcTest, UsesTheHostsClock) {
  Rtc rtc;
  EXPECT_GE(get(rtc, kCentury), 0x20);
  EXPECT_GE(realtime_ns(), 1'700'000'000 * kNanosecondsPerSecond);
}

}  // namespace
}  // namespace bulkhead
