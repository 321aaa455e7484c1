// SPDX-License-Identifier: Apache-2.0
#include "measure/event_log_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "measure/event_log_for_test.h"

namespace bulkhead {
namespace {

using enum HashAlgorithm;

// PFP §10.4.5.1, written out.
TEST(EventLogWriter, BeginsWithTheHeader) {
  const EventLogWriter writer = EventLogWriter::create({.banks = kMeasuredBanks}).value();
  EXPECT_EQ(to_hex(writer.log()),
            "00000000"
            "03000000"
            "0000000000000000000000000000000000000000"
            "25000000"
            "53706563204944204576656e74303300"
            "00000000"
            "00"
            "02"
            "69"
            "02"
            "02000000"
            "0b00"
            "2000"
            "0c00"
            "3000"
            "00");
}

// PFP §10.2.2.
TEST(EventLogWriter, WritesEventsAsTheyAreDefined) {
  constexpr HashAlgorithm kOne[] = {kSha256};
  EventLogWriter writer = EventLogWriter::create({.banks = kOne}).value();
  const std::size_t header = writer.log().size();
  ASSERT_TRUE(writer.append(event_of(8, EventType::kIpl, "abc", kOne)));
  EXPECT_EQ(to_hex(writer.log().subspan(header)),
            "08000000"
            "0d000000"
            "01000000"
            "0b00"
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            "03000000"
            "616263");
}

TEST(EventLogWriter, LeavesTheRestOfTheAreaZero) {
  EventLogWriter writer = EventLogWriter::create({.banks = kMeasuredBanks}).value();
  ASSERT_TRUE(writer.append(event_of(8, EventType::kIpl, "abc")));
  EXPECT_EQ(writer.area().size(), kEventLogAreaBytes);
  EXPECT_TRUE(std::ranges::equal(writer.area().first(writer.log().size()), writer.log()));
  for (const std::byte byte : writer.area().subspan(writer.log().size())) {
    ASSERT_EQ(byte, std::byte{0});
  }
}

// Linux needs zeros behind the last event.
TEST(EventLogWriter, NeverFillsTheAreaToItsEnd) {
  const std::size_t one_event = log_of(std::vector{event_of(8, EventType::kIpl, "abc")}).size();
  for (const std::size_t extra : {EventLogWriter::kEndBytes, EventLogWriter::kEndBytes - 1}) {
    EventLogWriter writer =
        EventLogWriter::create({.area_bytes = one_event + extra, .banks = kMeasuredBanks}).value();
    const std::vector<std::byte> before(writer.area().begin(), writer.area().end());
    const Result<void> appended = writer.append(event_of(8, EventType::kIpl, "abc"));
    EXPECT_EQ(appended.has_value(), extra == EventLogWriter::kEndBytes);
    if (appended) continue;
    EXPECT_EQ(appended.error().code, Errc::kExhausted);
    EXPECT_TRUE(std::ranges::equal(writer.area(), before));
  }
}

TEST(EventLogWriter, RefusesAnAreaThatHoldsNoHeader) {
  for (const std::size_t size : {0u, 15u, 16u, 69u, 84u}) {
    EXPECT_EQ(EventLogWriter::create({.area_bytes = size, .banks = kMeasuredBanks}).error().code,
              Errc::kExhausted);
  }
  EXPECT_TRUE(EventLogWriter::create({.area_bytes = 85, .banks = kMeasuredBanks}));
}

TEST(EventLogWriter, RefusesBanksThatAreNotOurs) {
  const std::vector<std::vector<HashAlgorithm>> refused = {
      {}, {kSha1}, {kSha512}, {kSha256, kSha1}, {kSha256, kSha256}, {kSha256, kSha384, kSha256}};
  for (const auto& banks : refused) {
    EXPECT_EQ(EventLogWriter::create({.banks = banks}).error().code, Errc::kInvalidArgument);
  }
}

TEST(EventLogWriter, RefusesAnEventOfOtherBanks) {
  constexpr HashAlgorithm kOne[] = {kSha256};
  constexpr HashAlgorithm kTurned[] = {kSha384, kSha256};
  EventLogWriter writer = EventLogWriter::create({.banks = kMeasuredBanks}).value();
  EXPECT_FALSE(writer.append(event_of(8, EventType::kIpl, "", kOne)));
  EXPECT_FALSE(writer.append(event_of(8, EventType::kIpl, "", kTurned)));
  EXPECT_FALSE(writer.append(event_of(24, EventType::kIpl, "")));
  EXPECT_TRUE(writer.append(event_of(8, EventType::kIpl, "")));
}

}  // namespace
}  // namespace bulkhead
