// SPDX-License-Identifier: Apache-2.0
#include "measure/measured_launch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <set>

#include "base/fd.h"
#include "measure/measured_facts_for_test.h"
#include "measure/measured_file.h"

namespace bulkhead {
namespace {

using enum HashAlgorithm;

// Which PCRs of a bank differ.
std::set<unsigned> difference(const PcrBank& one, const PcrBank& other) {
  std::set<unsigned> pcrs;
  for (unsigned i = 0; i < kPcrCount; ++i) {
    if (one.values()[i] != other.values()[i]) pcrs.insert(i);
  }
  return pcrs;
}

std::vector<PcrBank> pcrs_of(const LaunchFacts& facts) {
  return predict_pcrs(measure_launch(facts).value()).value();
}

// docs/measured-boot.md's table, in its order.
TEST(MeasuredLaunch, IsWhatTheTableSays) {
  struct Row {
    unsigned pcr;
    EventType type;
  };
  std::vector<Row> table = {{0, EventType::kSCrtmVersion},
                            {1, EventType::kPlatformConfigFlags},
                            {1, EventType::kEventTag}};
  for (unsigned pcr = 0; pcr < 8; ++pcr) table.push_back({pcr, EventType::kSeparator});
  table.insert(table.end(),
               {{4, EventType::kEventTag}, {8, EventType::kIpl}, {9, EventType::kIpl}});

  const auto events = measure_launch(sample_facts()).value();
  ASSERT_EQ(events.size(), table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    EXPECT_EQ(index_of(events[i].pcr), table[i].pcr) << i;
    EXPECT_EQ(events[i].type, table[i].type) << i;
  }
}

TEST(MeasuredLaunch, LogsTheTextsThatItHashes) {
  const LaunchFacts facts = sample_facts();
  const auto events = measure_launch(facts).value();
  EXPECT_EQ(events[0].data, text_vector(to_text(facts.monitor).value()));
  EXPECT_EQ(events[1].data, text_vector(to_text(facts.config).value()));
  for (const std::size_t i : {0u, 1u, 3u, 10u}) {
    EXPECT_EQ(events[i].digests, MultiHash::of(kMeasuredBanks, events[i].data).value()) << i;
  }
  EXPECT_EQ(events[12].data,
            text_vector("kernel_cmdline: " + facts.command_line + std::string(1, '\0')));
  EXPECT_EQ(events[12].digests,
            MultiHash::of(kMeasuredBanks, text_bytes(facts.command_line)).value());
}

TEST(MeasuredLaunch, NamesTheFilesThatItHashes) {
  const LaunchFacts facts = sample_facts();
  const auto events = measure_launch(facts).value();
  EXPECT_EQ(events[2].digests, facts.acpi_tables);
  EXPECT_EQ(to_hex(events[2].data),
            "01004b42"
            "0b000000" +
                to_hex(text_bytes("ACPI tables")));
  EXPECT_EQ(events[11].digests, facts.kernel);
  EXPECT_EQ(to_hex(events[11].data),
            "02004b42"
            "06000000" +
                to_hex(text_bytes("kernel")));
  EXPECT_EQ(events[13].digests, *facts.initrd);
  EXPECT_EQ(events[13].data, text_vector(std::string("initrd") + '\0'));
}

// Each fact shows in one PCR and no other, in every bank: a policy can be about one of them.
TEST(MeasuredLaunch, ShowsEachFactInItsOwnPcr) {
  struct Change {
    unsigned pcr;
    void (*apply)(LaunchFacts&);
  };
  const Change changes[] = {
      {0, [](LaunchFacts& facts) { facts.monitor.version = "0.1.1"; }},
      {0, [](LaunchFacts& facts) { facts.monitor.programs[0].digest[31] ^= std::byte{1}; }},
      {1, [](LaunchFacts& facts) { facts.config.debug = true; }},
      {1, [](LaunchFacts& facts) { facts.acpi_tables[0].bytes()[0] ^= std::byte{1}; }},
      {4, [](LaunchFacts& facts) { facts.kernel[0].bytes()[0] ^= std::byte{1}; }},
      {8, [](LaunchFacts& facts) { facts.command_line += " "; }},
      {9, [](LaunchFacts& facts) { facts.initrd->at(0).bytes()[31] ^= std::byte{0x80}; }},
      {9, [](LaunchFacts& facts) { facts.initrd.reset(); }},
  };
  const auto before = pcrs_of(sample_facts());
  for (const Change& change : changes) {
    LaunchFacts facts = sample_facts();
    change.apply(facts);
    EXPECT_EQ(difference(before[0], pcrs_of(facts)[0]), std::set{change.pcr});
  }
}

// Digests of both banks are extended, each into its own.
TEST(MeasuredLaunch, KeepsTheBanksApart) {
  LaunchFacts facts = sample_facts();
  facts.kernel[1].bytes()[0] ^= std::byte{1};
  EXPECT_EQ(difference(pcrs_of(sample_facts())[0], pcrs_of(facts)[0]), std::set<unsigned>{});
  EXPECT_EQ(difference(pcrs_of(sample_facts())[1], pcrs_of(facts)[1]), std::set{4u});
}

// A guest without an initrd extends the digest of one that a relying party expects.
TEST(MeasuredLaunch, CannotBeCompletedByTheGuest) {
  LaunchFacts without = sample_facts();
  without.initrd.reset();
  const PcrBank wanted = pcrs_of(sample_facts())[0];
  PcrBank forged = pcrs_of(without)[0];
  forged.extend(kInitrdPcr, sample_facts().initrd->at(0)).value();
  EXPECT_NE(forged.value(kInitrdPcr).value(), wanted.value(kInitrdPcr).value());

  // The control: it works if no initrd leaves no trace.
  auto events = measure_launch(without).value();
  events.pop_back();
  PcrBank untouched = predict_pcrs(events).value()[0];
  untouched.extend(kInitrdPcr, sample_facts().initrd->at(0)).value();
  EXPECT_EQ(untouched.value(kInitrdPcr).value(), wanted.value(kInitrdPcr).value());
}

TEST(MeasuredLaunch, MeasuresAnEmptyCommandLine) {
  LaunchFacts facts = sample_facts();
  facts.command_line.clear();
  EXPECT_NE(pcrs_of(facts)[0].value(kCommandLinePcr).value(), Digest(kSha256));
}

TEST(MeasuredLaunch, LeavesTheGuestsPcrsAlone) {
  const PcrBank bank = pcrs_of(sample_facts())[0];
  const PcrBank fresh(kSha256, StartupLocality::kZero);
  EXPECT_EQ(difference(bank, fresh), (std::set<unsigned>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(MeasuredLaunch, RefusesWhatLacksADigest) {
  LaunchFacts facts = sample_facts();
  facts.kernel.pop_back();
  EXPECT_EQ(measure_launch(facts).error().code, Errc::kInvalidArgument);
  constexpr HashAlgorithm kOne[] = {kSha256};
  EXPECT_EQ(measure_launch(sample_facts(), kOne).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(predict_pcrs(measure_launch(sample_facts()).value(), std::vector{kSha512}).error().code,
            Errc::kInvalidArgument);
}

TEST(MeasuredLaunch, RefusesACommandLineThatALogCannotShow) {
  LaunchFacts facts = sample_facts();
  facts.command_line = std::string("a\0b", 3);
  EXPECT_EQ(measure_launch(facts).error().code, Errc::kInvalidArgument);
  facts.command_line = std::string(kMaxMeasuredCommandLine + 1, 'x');
  EXPECT_EQ(measure_launch(facts).error().code, Errc::kInvalidArgument);
  facts.command_line = std::string(2047, 'x');
  EXPECT_LT(log_of(measure_launch(facts).value()).size(), kEventLogAreaBytes);
}

TEST(ReadLaunch, IsTheInverse) {
  LaunchFacts bare = sample_facts();
  bare.initrd.reset();
  bare.command_line.clear();
  bare.config.disks.clear();
  for (const LaunchFacts& facts : {sample_facts(), bare}) {
    EXPECT_EQ(read_launch(measure_launch(facts).value()).value(), facts);
  }
}

TEST(ReadLaunch, RefusesOtherEvents) {
  const auto good = measure_launch(sample_facts()).value();
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto missing = good;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(read_launch(missing)) << i;
    auto twice = good;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    EXPECT_FALSE(read_launch(twice)) << i;
    auto elsewhere = good;
    elsewhere[i].pcr = Pcr{10};
    EXPECT_FALSE(read_launch(elsewhere)) << i;
    auto mute = good;
    mute[i].type = EventType::kNoAction;
    EXPECT_FALSE(read_launch(mute)) << i;
    auto other_data = good;
    other_data[i].data.push_back(std::byte{0});
    EXPECT_FALSE(read_launch(other_data)) << i;
    auto no_data = good;
    no_data[i].data.clear();
    EXPECT_FALSE(read_launch(no_data)) << i;
  }
  EXPECT_FALSE(read_launch({}));
  EXPECT_TRUE(read_launch(good));
}

// Whoever changes a byte of the log behind its header is refused, or explains other PCR values.
TEST(ReadLaunch, LeavesNoByteOfTheLogUnaccountedFor) {
  const std::vector<std::byte> good = log_of(measure_launch(sample_facts()).value());
  const auto wanted = pcrs_of(sample_facts());
  const std::size_t header = log_of({}).size();
  for (std::size_t i = header; i < good.size(); ++i) {
    std::vector<std::byte> changed = good;
    changed[i] ^= std::byte{1} << (i % 8);
    const auto log = EventLog::parse(changed);
    if (!log || !read_launch(log->events())) continue;
    const auto banks = log->replay();
    EXPECT_FALSE(banks && *banks == wanted) << "byte " << i;
  }
  const EventLog log = EventLog::parse(good).value();
  EXPECT_TRUE(read_launch(log.events()) && log.replay().value() == wanted);
}

TEST(MeasureFile, HashesAllOfIt) {
  const Fd file(::memfd_create("measured", MFD_CLOEXEC));
  std::string content(200 * 1000, 'x');
  content[150 * 1000] = 'y';
  ASSERT_EQ(::write(file.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  EXPECT_EQ(measure_file(file.get(), kMeasuredBanks).value(),
            MultiHash::of(kMeasuredBanks, text_bytes(content)).value());
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), static_cast<off_t>(content.size()));
  EXPECT_FALSE(measure_file(-1, kMeasuredBanks));
}

}  // namespace
}  // namespace bulkhead
