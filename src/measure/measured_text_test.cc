// SPDX-License-Identifier: Apache-2.0
#include "measure/measured_text.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "measure/measured_facts_for_test.h"

namespace bulkhead {
namespace {

constexpr char kConfigText[] =
    "bulkhead_configuration=1\n"
    "isolation=memfd\n"
    "debug=no\n"
    "cpus=2\n"
    "memory_bytes=268435456\n"
    "max_memory_bytes=0\n"
    "lock_memory=no\n"
    "resident_bytes=0\n"
    "compress=no\n"
    "rng=yes\n"
    "balloon=no\n"
    "vsock=no\n"
    "nets=1\n"
    "tpm_state=transient\n"
    "disks=2\n"
    "disk.0.kind=sealed\n"
    "disk.0.read_only=no\n"
    "disk.0.identity=00112233445566778899aabbccddeeff\n"
    "disk.1.kind=plain\n"
    "disk.1.read_only=yes\n"
    "disk.1.identity=tools disk\n";

constexpr char kMonitorText[] =
    "bulkhead_monitor=1\n"
    "version=0.1.0\n"
    "program.bulkhead-vmm="
    "sha256:3d8d57330c56a1b61395d4a0a1c0a80a2b4ee2d7a3c0c7e4ac0bb4e6e2a60f11\n";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MeasuredConfig, HasOneForm) {
  EXPECT_EQ(to_text(sample_facts().config).value(), kConfigText);
  EXPECT_EQ(parse_measured_config(kConfigText).value(), sample_facts().config);
}

// Each value has its own place in the text: two configurations never look the same.
TEST(MeasuredConfig, ShowsEveryValue) {
  using Change = void (*)(MeasuredConfig&);
  const Change changes[] = {
      [](MeasuredConfig& c) { c.isolation = Isolation::kCarved; },
      [](MeasuredConfig& c) { c.debug = true; },
      [](MeasuredConfig& c) { c.cpus = 3; },
      [](MeasuredConfig& c) { c.memory_bytes += kFrameSize; },
      [](MeasuredConfig& c) { c.max_memory_bytes = kGiB; },
      [](MeasuredConfig& c) { c.lock_memory = true; },
      [](MeasuredConfig& c) { c.resident_bytes = 64 * kMiB; },
      [](MeasuredConfig& c) { c.compress = true; },
      [](MeasuredConfig& c) { c.rng = false; },
      [](MeasuredConfig& c) { c.balloon = true; },
      [](MeasuredConfig& c) { c.vsock = true; },
      [](MeasuredConfig& c) { c.nets = 2; },
      [](MeasuredConfig& c) { c.tpm_state = TpmState::kHostCounter; },
      [](MeasuredConfig& c) { c.tpm_state = TpmState::kFileCounter; },
      [](MeasuredConfig& c) { c.disks.pop_back(); },
      [](MeasuredConfig& c) { c.disks[1].kind = MeasuredDisk::Kind::kSealed; },
      [](MeasuredConfig& c) { c.disks[1].read_only = false; },
      [](MeasuredConfig& c) { c.disks[1].identity = "other"; },
      [](MeasuredConfig& c) { std::swap(c.disks[0], c.disks[1]); },
  };
  std::vector<std::string> texts = {kConfigText};
  for (const Change change : changes) {
    MeasuredConfig config = sample_facts().config;
    change(config);
    texts.push_back(to_text(config).value());
    EXPECT_EQ(parse_measured_config(texts.back()).value(), config);
  }
  std::ranges::sort(texts);
  EXPECT_EQ(std::ranges::adjacent_find(texts), texts.end());
}

TEST(MeasuredConfig, AnUnknownLevelIsNotMeasured) {
  MeasuredConfig config = sample_facts().config;
  config.isolation = Isolation::kNone;
  EXPECT_EQ(to_text(config).error().code, Errc::kInvalidArgument);
}

TEST(MeasuredConfig, RefusesAnotherForm) {
  const std::string good = kConfigText;
  const std::vector<std::string> bad = {
      "",
      good + "\n",
      good + "more=1\n",
      good.substr(0, good.size() - 1),
      replaced(good, "configuration=1", "configuration=2"),
      replaced(good, "cpus=2", "cpus=02"),
      replaced(good, "cpus=2", "cpus=+2"),
      replaced(good, "cpus=2", "cpus=-2"),
      replaced(good, "cpus=2", "cpus= 2"),
      replaced(good, "cpus=2", "cpus="),
      replaced(good, "cpus=2", "cpus=65536"),
      replaced(good, "cpus=2", "cpus=0x2"),
      replaced(good, "cpus=2\n", ""),
      replaced(good, "cpus=2\n", "cpus=2\ncpus=2\n"),
      replaced(good, "cpus=2\n", "cpus=2\r\n"),
      replaced(good, "cpus=2", "cpus.0=2"),
      replaced(good, "cpus=2", "cpu=2"),
      replaced(good, "memory_bytes=268435456", "memory_bytes=18446744073709551616"),
      replaced(good, "debug=no", "debug=NO"),
      replaced(good, "debug=no", "debug=0"),
      replaced(good, "isolation=memfd", "isolation=none"),
      replaced(good, "kind=plain", "kind=other"),
      replaced(good, "disks=2", "disks=1"),
      replaced(good, "disks=2", "disks=3"),
      replaced(good, "disks=2", "disks=17"),
      replaced(good, "disks=2", "disks=65535"),
      replaced(good, "disk.1.kind", "disk.2.kind"),
      replaced(good, "tools disk", "tools\tdisk"),
      replaced(good, "tools disk", "tools \xc3\xa4"),
      replaced(good, "tools disk", std::string(kMaxMeasuredString + 1, 'x')),
      std::string(kMaxMeasuredText + 1, '\n'),
  };
  ASSERT_TRUE(parse_measured_config(good));
  for (const std::string& text : bad) {
    const auto config = parse_measured_config(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Errc::kMalformed);
  }
}

TEST(MeasuredConfig, CutAnywhereIsRefused) {
  const std::string_view good = kConfigText;
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(parse_measured_config(good.substr(0, size))) << size;
  }
}

// A line break in a name would be another line.
TEST(MeasuredConfig, RefusesWhatCannotBeALine) {
  const std::vector<std::string> bad = {"a\nb", "a\rb", std::string(1, '\0'),
                                        "\x7f", "\xff", std::string(kMaxMeasuredString + 1, 'x')};
  for (const std::string& identity : bad) {
    MeasuredConfig config = sample_facts().config;
    config.disks[0].identity = identity;
    EXPECT_EQ(to_text(config).error().code, Errc::kInvalidArgument) << identity;
  }
  MeasuredConfig config = sample_facts().config;
  config.disks.resize(kMaxMeasuredItems + 1);
  EXPECT_FALSE(to_text(config));
  config.disks.resize(kMaxMeasuredItems, {.identity = std::string(kMaxMeasuredString, '~')});
  EXPECT_EQ(parse_measured_config(to_text(config).value()).value(), config);
}

TEST(MonitorIdentity, HasOneForm) {
  const MonitorIdentity identity = parse_monitor_identity(kMonitorText).value();
  EXPECT_EQ(identity.version, "0.1.0");
  ASSERT_EQ(identity.programs.size(), 1u);
  EXPECT_EQ(identity.programs[0].name, "bulkhead-vmm");
  EXPECT_EQ(to_hex(identity.programs[0].digest),
            "3d8d57330c56a1b61395d4a0a1c0a80a2b4ee2d7a3c0c7e4ac0bb4e6e2a60f11");
  EXPECT_EQ(to_text(identity).value(), kMonitorText);
  const MonitorIdentity sample = sample_facts().monitor;
  EXPECT_EQ(parse_monitor_identity(to_text(sample).value()).value(), sample);
}

TEST(MonitorIdentity, RefusesAnotherForm) {
  const std::string good = kMonitorText;
  const std::string line = good.substr(good.find("program"));
  const std::vector<std::string> bad = {
      "",
      good + line,
      good + "more=1\n",
      replaced(good, "monitor=1", "monitor=01"),
      replaced(good, "0.1.0", "0.1.0\n"),
      replaced(good, "sha256:", "sha512:"),
      replaced(good, "sha256:", ""),
      replaced(good, "3d8d", "3D8d"),
      replaced(good, "3d8d", "3d8"),
      replaced(good, "3d8d", "3d8d0"),
      replaced(good, "3d8d", "-d8d"),
      replaced(good, "3d8d", "xx8d"),
      replaced(good, "program.bulkhead-vmm", "program."),
      replaced(good, "program.bulkhead-vmm", "program.bulkhead vmm"),
      replaced(good, "program.", "programs."),
  };
  for (const std::string& text : bad) EXPECT_FALSE(parse_monitor_identity(text)) << text;
  EXPECT_TRUE(parse_monitor_identity(replaced(good, line, "")));
}

TEST(MonitorIdentity, NamesEachProgramOnceInOrder) {
  MonitorIdentity identity = sample_facts().monitor;
  std::swap(identity.programs[0], identity.programs[1]);
  EXPECT_FALSE(to_text(identity));
  identity.programs[1] = identity.programs[0];
  EXPECT_FALSE(to_text(identity));
  identity.programs.assign(kMaxMeasuredItems, {});
  for (std::size_t i = 0; i < kMaxMeasuredItems; ++i) {
    identity.programs[i].name = std::string(kMaxMeasuredString, static_cast<char>('a' + i));
  }
  EXPECT_EQ(parse_monitor_identity(to_text(identity).value()).value(), identity);
  identity.programs.push_back({"z", {}});
  EXPECT_FALSE(to_text(identity));
}

}  // namespace
}  // namespace bulkhead
