// SPDX-License-Identifier: Apache-2.0
#include "measure/event_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>

#include "measure/event_log_for_test.h"

namespace bulkhead {
namespace {

using enum HashAlgorithm;

constexpr std::size_t kHeaderDigest = 8;   // in the header's event
constexpr std::size_t kHeaderSize = 28;    // its event size
constexpr std::size_t kHeaderMajor = 53;   // of its data: specVersionMajor
constexpr std::size_t kHeaderCount = 56;   // numberOfAlgorithms
constexpr std::size_t kHeaderSha256 = 60;  // its id, and two bytes later its length
constexpr std::size_t kHeaderSha384 = 64;
constexpr std::size_t kHeaderVendor = 68;  // vendorInfoSize, the last byte
constexpr std::size_t kEvent = 69;         // the first event
constexpr std::size_t kEventCount = kEvent + 8;
constexpr std::size_t kEventSha256 = kEvent + 12;
constexpr std::size_t kEventSha384 = kEventSha256 + 2 + 32;
constexpr std::size_t kEventSize = kEventSha384 + 2 + 48;

// One event of three bytes.
std::vector<std::byte> small_log() {
  return log_of(std::vector{event_of(4, EventType::kIpl, "abc")});
}

// Of several PCRs, types and lengths.
std::vector<LogEvent> some_events() {
  return {event_of(0, EventType::kSCrtmVersion, "1.0"),
          event_of(1, EventType::kPlatformConfigFlags, std::string(300, 'c')),
          event_of(4, EventType::kNoAction, "a note"),
          event_of(4, EventType::kSeparator, std::string_view("\0\0\0\0", 4)),
          event_of(23, EventType::kIpl, ""),
          event_of(4, static_cast<EventType>(0x80000123), "a type that is not known")};
}

std::vector<PcrBank> banks_of(std::span<const LogEvent> events) {
  std::vector<PcrBank> banks;
  for (const HashAlgorithm bank : kMeasuredBanks) {
    replay_into(banks.emplace_back(bank, StartupLocality::kZero), events).value();
  }
  return banks;
}

Errc refusal(std::span<const std::byte> log) {
  const auto parsed = EventLog::parse(log);
  EXPECT_FALSE(parsed);
  return parsed ? Errc::kIo : parsed.error().code;
}

struct Break {
  const char* what;
  std::function<void(std::vector<std::byte>&)> apply;
  Errc expected = Errc::kMalformed;
};

template <class T>
auto put(std::size_t offset, T value) {
  return [=](std::vector<std::byte>& log) { put_le(std::span(log), offset, value); };
}

TEST(EventLog, ReadsWhatTheWriterWrote) {
  const std::vector<LogEvent> events = some_events();
  const EventLog log = EventLog::parse(log_of(events)).value();
  EXPECT_EQ(log.format(), EventLog::Format::kCryptoAgile);
  EXPECT_EQ(log.algorithms(), (std::vector{kSha256, kSha384}));
  EXPECT_EQ(log.events(), events);
  EXPECT_EQ(log.replay().value(), banks_of(events));
}

TEST(EventLog, ReplaysWhatIsWanted) {
  const EventLog log = EventLog::parse(log_of(some_events())).value();
  const std::vector<PcrBank> all = log.replay().value();
  EXPECT_EQ(log.replay(std::array{kSha256}).value(), std::vector{all[0]});
  EXPECT_EQ(log.replay(std::array{kSha384, kSha256, kSha1}).value(), all);
  EXPECT_TRUE(log.replay(std::array{kSha1}).value().empty());
  // That no bank is complete counts, whichever is wanted.
  std::vector<std::byte> odd = small_log();
  put_le<std::uint16_t>(odd, kHeaderSha256, 0x13);
  put_le<std::uint16_t>(odd, kHeaderSha384, 0x12);
  put_le<std::uint16_t>(odd, kEventSha256, 0x13);
  put_le<std::uint16_t>(odd, kEventSha384, 0x12);
  EXPECT_FALSE(EventLog::parse(odd).value().replay(std::array{kSha1}));
}

TEST(EventLog, ReadsTheOldFormat) {
  LogBytes bytes;
  bytes.add_sha1_event(4, EventType::kAction, "Calling INT 19h");
  bytes.add_sha1_event(4, EventType::kIpl, "");
  const EventLog log = EventLog::parse(bytes.bytes()).value();
  EXPECT_EQ(log.format(), EventLog::Format::kSha1);
  ASSERT_EQ(log.events().size(), 2u);
  PcrBank bank(kSha1, StartupLocality::kZero);
  for (const char* data : {"Calling INT 19h", ""}) {
    bank.extend(Pcr{4}, Hash::of(kSha1, {text_bytes(data)}).value()).value();
  }
  EXPECT_EQ(log.replay().value(), std::vector{bank});
}

const Break kHeaderBreaks[] = {
    {"a header for another PCR", put<std::uint32_t>(0, 1)},
    {"a header with a digest", put<std::uint8_t>(kHeaderDigest, 1)},
    {"a header beyond all ends", put<std::uint32_t>(kHeaderSize, 0xffffffff), Errc::kTruncated},
    {"another version", put<std::uint8_t>(kHeaderMajor, 3), Errc::kUnsupported},
    {"no algorithms", put<std::uint32_t>(kHeaderCount, 0)},
    {"too many algorithms", put<std::uint32_t>(kHeaderCount, 9)},
    {"a huge number of algorithms", put<std::uint32_t>(kHeaderCount, 0xffffffff)},
    {"fewer algorithms than are there", put<std::uint32_t>(kHeaderCount, 1), Errc::kTruncated},
    {"a shorter SHA-256", put<std::uint16_t>(kHeaderSha256 + 2, 31)},
    {"an unknown algorithm of length 0", put<std::uint32_t>(kHeaderSha384, 0x12)},
    {"a long unknown algorithm", put<std::uint32_t>(kHeaderSha384, 65 << 16 | 0x12)},
    {"an algorithm twice", put<std::uint32_t>(kHeaderSha384, 32 << 16 | 0x0b)},
    {"vendor information that is not there", put<std::uint8_t>(kHeaderVendor, 1), Errc::kTruncated},
};

const Break kEventBreaks[] = {
    {"a PCR that is none", put<std::uint32_t>(kEvent, 24), Errc::kOutOfRange},
    {"a PCR that is none in 32 bits", put<std::uint32_t>(kEvent, 256), Errc::kOutOfRange},
    {"an event without digests", put<std::uint32_t>(kEventCount, 0)},
    {"too many digests", put<std::uint32_t>(kEventCount, 3)},
    {"a huge number of digests", put<std::uint32_t>(kEventCount, 0xffffffff)},
    {"a digest that the header does not name", put<std::uint16_t>(kEventSha256, 0x04)},
    {"a digest twice", put<std::uint16_t>(kEventSha384, 0x0b)},
    {"data beyond the end", put<std::uint32_t>(kEventSize, 4), Errc::kTruncated},
    {"data beyond all ends", put<std::uint32_t>(kEventSize, 0xffffffff), Errc::kTruncated},
    {"data that ends early", put<std::uint32_t>(kEventSize, 2), Errc::kTruncated},
    {"zeros behind it", [](auto& log) { log.resize(log.size() + 16); }},
};

void expect_refused(const std::vector<std::byte>& good, std::span<const Break> breaks) {
  EXPECT_TRUE(EventLog::parse(good));
  for (const Break& item : breaks) {
    std::vector<std::byte> log = good;
    item.apply(log);
    EXPECT_EQ(refusal(log), item.expected) << item.what;
  }
}

// Of a log without events, so that none of them gives the header away.
TEST(EventLog, RefusesAMalformedHeader) {
  expect_refused(log_of({}), kHeaderBreaks);
}

TEST(EventLog, RefusesAMalformedEvent) {
  expect_refused(small_log(), kEventBreaks);
}

TEST(EventLog, SaysThatThereIsNoLog) {
  const auto log = EventLog::parse({});
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::kTruncated);
  EXPECT_STREQ(log.error().what, "the event log is empty");
}

// The offsets above are where they are said to be: what they name can be read there.
TEST(EventLog, IsLaidOutAsTheBreaksAssume) {
  const std::vector<std::byte> log = small_log();
  EXPECT_EQ(get_le<std::uint32_t>(log, kHeaderSize), 37u);
  EXPECT_EQ(get_le<std::uint8_t>(log, kHeaderMajor), 2);
  EXPECT_EQ(get_le<std::uint32_t>(log, kHeaderCount), 2u);
  EXPECT_EQ(get_le<std::uint32_t>(log, kHeaderSha256), 32u << 16 | 0x0b);
  EXPECT_EQ(get_le<std::uint32_t>(log, kHeaderSha384), 48u << 16 | 0x0c);
  EXPECT_EQ(get_le<std::uint32_t>(log, kEvent), 4u);
  EXPECT_EQ(get_le<std::uint32_t>(log, kEventCount), 2u);
  EXPECT_EQ(get_le<std::uint16_t>(log, kEventSha256), 0x0b);
  EXPECT_EQ(get_le<std::uint16_t>(log, kEventSha384), 0x0c);
  EXPECT_EQ(get_le<std::uint32_t>(log, kEventSize), 3u);
  EXPECT_EQ(log.size(), kEventSize + 4 + 3);
}

// Cut anywhere, a log is refused, or is one that ended there: never read beyond its end, never half
// an event.
TEST(EventLog, CutAtEveryByteIsRefusedOrAShorterLog) {
  const std::vector<LogEvent> events = some_events();
  const std::vector<std::byte> whole = log_of(events);
  std::size_t shorter_logs = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> cut(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto log = EventLog::parse(cut);
    if (!log) {
      EXPECT_EQ(log.error().code, Errc::kTruncated) << size;
      continue;
    }
    ASSERT_LE(log->events().size(), events.size());
    EXPECT_TRUE(std::ranges::equal(log->events(), std::span(events).first(log->events().size())));
    EXPECT_EQ(log->events().size(), shorter_logs++);
  }
  EXPECT_EQ(shorter_logs, events.size());
}

TEST(EventLog, CutAtEveryByteInTheOldFormatToo) {
  LogBytes bytes;
  bytes.add_sha1_event(4, EventType::kIpl, "abc").add_sha1_event(5, EventType::kIpl, "");
  for (std::size_t size = 0; size < bytes.bytes().size(); ++size) {
    EXPECT_EQ(EventLog::parse(bytes.bytes().first(size)).has_value(), size == 35) << size;
  }
}

TEST(EventLog, RefusesMoreThanItsLimit) {
  LogBytes bytes;
  bytes.add_sha1_event(4, EventType::kIpl, std::string(kMaxEventLogBytes - 32, 'x'));
  ASSERT_EQ(bytes.bytes().size(), kMaxEventLogBytes);
  EXPECT_TRUE(EventLog::parse(bytes.bytes()));
  bytes.add_sha1_event(4, EventType::kIpl, "");
  EXPECT_EQ(refusal(bytes.bytes()), Errc::kUnsupported);
}

// As many events as can be: each takes its bytes, so that there is an end.
TEST(EventLog, EndsHoweverManyEventsThereAre) {
  LogBytes bytes;
  while (bytes.bytes().size() + 32 <= kMaxEventLogBytes) {
    bytes.add_sha1_event(4, EventType::kIpl, "");
  }
  EXPECT_EQ(EventLog::parse(bytes.bytes()).value().events().size(), kMaxEventLogBytes / 32);
}

TEST(EventLog, PassesOverAnAlgorithmThatItDoesNotKnow) {
  std::vector<std::byte> log = small_log();
  put_le<std::uint16_t>(log, kHeaderSha384, 0x12);
  put_le<std::uint16_t>(log, kEventSha384, 0x12);
  const EventLog parsed = EventLog::parse(log).value();
  EXPECT_EQ(parsed.algorithms(), std::vector{kSha256});
  ASSERT_EQ(parsed.events()[0].digests.size(), 1u);
  EXPECT_EQ(parsed.replay().value().size(), 1u);
}

TEST(EventLog, TakesVendorInformation) {
  std::vector<std::byte> log = small_log();
  log.insert(log.begin() + kEvent, {std::byte{0xde}, std::byte{0xad}});
  put_le<std::uint8_t>(log, kHeaderVendor, 2);
  put_le<std::uint32_t>(log, kHeaderSize, 39);
  EXPECT_TRUE(EventLog::parse(log));
  put_le<std::uint8_t>(log, kHeaderVendor, 1);
  EXPECT_EQ(refusal(log), Errc::kMalformed);
}

TEST(EventLogReplay, DoesNotExtendWhatIsOnlyLogged) {
  const LogEvent logged = event_of(4, EventType::kNoAction, "note");
  const LogEvent extended = event_of(4, EventType::kAction, "note");
  const std::vector<PcrBank> none = banks_of({});
  const auto replay = [](const LogEvent& event) {
    return EventLog::parse(log_of(std::vector{event})).value().replay().value();
  };
  EXPECT_EQ(replay(logged), none);
  EXPECT_NE(replay(extended), none);
}

// A digest left out of one event leaves its bank without a meaning.
TEST(EventLogReplay, LeavesOutABankThatLacksADigest) {
  std::vector<std::byte> log = small_log();
  const std::vector<std::byte> event(log.begin() + kEvent, log.end());
  EXPECT_EQ(EventLog::parse(log).value().replay().value().size(), 2u);
  LogBytes one;
  one.add(std::uint32_t{5}).add(std::uint32_t{0xd}).add(std::uint32_t{1}).add(std::uint16_t{0x0c});
  one.add_zeros(48).add(std::uint32_t{0});
  log.insert(log.end(), one.bytes().begin(), one.bytes().end());
  const auto banks = EventLog::parse(log).value().replay().value();
  ASSERT_EQ(banks.size(), 1u);
  EXPECT_EQ(banks[0].algorithm(), kSha384);
  put_le<std::uint32_t>(log, kHeaderSha384, 48 << 16 | 0x77);
  put_le<std::uint16_t>(log, kEventSha384, 0x77);
  put_le<std::uint16_t>(log, kEvent + event.size() + 12, 0x77);
  EXPECT_EQ(EventLog::parse(log).value().replay().error().code, Errc::kMalformed);
}

class Locality : public testing::Test {
 protected:
  using Events = std::vector<LogEvent>;
  static Result<std::vector<PcrBank>> replay(const Events& events) {
    return EventLog::parse(log_of(events)).value().replay();
  }
  static Errc error_of(const Events& events) {
    const auto banks = replay(events);
    EXPECT_FALSE(banks);
    return banks ? Errc::kIo : banks.error().code;
  }

  const LogEvent zero = startup_locality_event(StartupLocality::kZero, kMeasuredBanks);
  const LogEvent three = startup_locality_event(StartupLocality::kThree, kMeasuredBanks);
  const LogEvent four = startup_locality_event(StartupLocality::kHcrtm, kMeasuredBanks);
  const LogEvent hcrtm = event_of(0, EventType::kEfiHcrtmEvent, "HCRTM");
  const LogEvent version = event_of(0, EventType::kSCrtmVersion, "1");
  const LogEvent elsewhere = event_of(1, EventType::kAction, "x");
};

TEST_F(Locality, IsWherePcr0BeginsFrom) {
  for (const LogEvent& event : {zero, three, four}) {
    const auto banks = replay({elsewhere, event, version}).value();
    PcrBank expected(kSha256, static_cast<StartupLocality>(event.data.back()));
    expected.extend(Pcr{1}, elsewhere.digests[0]).value();
    expected.extend(Pcr{0}, version.digests[0]).value();
    EXPECT_EQ(banks[0], expected);
  }
}

TEST_F(Locality, TakesAnHcrtm) {
  PcrBank expected(kSha384, StartupLocality::kHcrtm);
  expected.extend(Pcr{0}, hcrtm.digests[1]).value();
  EXPECT_EQ(replay({four, hcrtm}).value()[1], expected);
}

TEST_F(Locality, IsRefusedWhenItComesLateOrTwice) {
  EXPECT_EQ(error_of({version, three}), Errc::kMalformed);
  EXPECT_EQ(error_of({three, three}), Errc::kMalformed);
  EXPECT_EQ(error_of({zero, four, hcrtm}), Errc::kMalformed);
  EXPECT_TRUE(replay({three, version}));
}

TEST_F(Locality, IsRefusedWhenThereIsNoSuch) {
  for (const unsigned value : {1u, 2u, 5u, 255u}) {
    LogEvent event = three;
    event.data.back() = static_cast<std::byte>(value);
    EXPECT_EQ(error_of({event}), Errc::kMalformed) << value;
  }
  LogEvent longer = three;
  longer.data.push_back(std::byte{0});
  EXPECT_EQ(error_of({longer}), Errc::kMalformed);
  LogEvent shorter = three;
  shorter.data.pop_back();
  EXPECT_EQ(error_of({shorter}), Errc::kMalformed);
  LogEvent other_pcr = three;
  other_pcr.pcr = Pcr{1};
  EXPECT_EQ(error_of({other_pcr}), Errc::kMalformed);
}

TEST_F(Locality, RefusesAnHcrtmOutOfPlace) {
  EXPECT_EQ(error_of({hcrtm}), Errc::kMalformed);
  EXPECT_EQ(error_of({three, hcrtm}), Errc::kMalformed);
  EXPECT_EQ(error_of({four, version, hcrtm}), Errc::kMalformed);
  EXPECT_EQ(error_of({four, hcrtm, hcrtm}), Errc::kMalformed);
  LogEvent other_pcr = hcrtm;
  other_pcr.pcr = Pcr{1};
  EXPECT_EQ(error_of({four, other_pcr}), Errc::kMalformed);
  EXPECT_TRUE(replay({four, hcrtm, version}));
}

}  // namespace
}  // namespace bulkhead
