// SPDX-License-Identifier: Apache-2.0
// Logs of other people's machines, from the test data of public projects, if they are there.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "measure/event_log_for_test.h"

namespace bulkhead {
namespace {

namespace fs = std::filesystem;

const fs::path kVectors = fs::path(BULKHEAD_SOURCE_DIR) / "../shared/vectors/tpm_eventlog";

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  return text_vector(content);
}

// Base64 of a file that is known to be it (RFC 4648).
std::vector<std::byte> from_base64(std::span<const std::byte> text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> bytes;
  unsigned pending = 0;
  unsigned bits = 0;
  for (const std::byte character : text) {
    const std::size_t digit = kDigits.find(static_cast<char>(character));
    if (digit == std::string_view::npos) continue;
    pending = (pending << 6 | static_cast<unsigned>(digit)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::byte>(pending >> bits & 0xff));
  }
  return bytes;
}

class Vectors : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kVectors)) GTEST_SKIP() << "no third-party vectors at " << kVectors;
  }
};

TEST_F(Vectors, ReplayToTheValuesThatComeWithThem) {
  unsigned logs = 0;
  unsigned values = 0;
  for (const auto& entry : fs::directory_iterator(kVectors / "tpm2-tools")) {
    fs::path expected = entry.path();
    expected += ".yaml";
    if (entry.path().extension() != ".bin" || !fs::exists(expected)) continue;
    std::ifstream yaml(expected);
    const PrintedPcrs wanted = read_pcr_values(yaml);
    if (wanted.empty()) continue;
    const auto log = EventLog::parse(read_file(entry.path()));
    ASSERT_TRUE(log) << entry.path() << log.error().what;
    EXPECT_EQ(pcr_values(log->replay().value(), wanted), wanted) << entry.path();
    ++logs;
    values += static_cast<unsigned>(wanted.size());
  }
  EXPECT_GE(logs, 11u);
  EXPECT_GE(values, 100u);
}

TEST_F(Vectors, AreReadWithoutValuesToo) {
  for (const char* name :
       {"keylime/binary_bios_measurements", "keylime/binary_bios_measurements-secureboot",
        "rust-keylime/uefi_log.bin"}) {
    const auto log = EventLog::parse(read_file(kVectors / name));
    ASSERT_TRUE(log) << name << log.error().what;
    EXPECT_GT(log->events().size(), 90u);
    EXPECT_TRUE(log->replay()) << name;
  }
  EXPECT_TRUE(EventLog::parse(from_base64(read_file(kVectors / "keylime/mb_log.b64"))));
}

// Its TPM was started at locality 3. The value is of an independent computation.
TEST_F(Vectors, MindTheStartupLocality) {
  const EventLog log =
      EventLog::parse(read_file(kVectors / "keylime/binary_bios_measurements")).value();
  EXPECT_EQ(log.startup_locality().value(), StartupLocality::kThree);
  EXPECT_EQ(to_hex(log.replay().value()[1].values()[0].bytes()),
            "0ee9a7feba8f4172f1a7451594aa5731665a4d353ac61814042ce107a00742f2");
}

// The last one's header ends before the vendor information that it announces.
TEST_F(Vectors, AreRefusedWhenTheyAreNoLogs) {
  for (const char* name :
       {"keylime/binary_bios_measurements-bogus", "keylime/binary_bios_measurements-empty",
        "tpm2-tools/specid-vendordata.bin"}) {
    ASSERT_TRUE(fs::exists(kVectors / name));
    EXPECT_FALSE(EventLog::parse(read_file(kVectors / name))) << name;
  }
}

// The longest of the short ones, and one in the old format.
TEST_F(Vectors, CutAtEveryByteNeverFailOtherwise) {
  for (const char* name :
       {"tpm2-tools/event-sd-boot-fedora37.bin", "tpm2-tools/event-uefi-sha1-log.bin"}) {
    const std::vector<std::byte> whole = read_file(kVectors / name);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto log = EventLog::parse(std::span(whole).first(size));
      EXPECT_TRUE(log || log.error().code == Errc::kTruncated) << name << " at " << size;
    }
  }
}

}  // namespace
}  // namespace bulkhead
