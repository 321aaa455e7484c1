// SPDX-License-Identifier: Apache-2.0
// What other people's tools make of our logs.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "measure/measured_facts_for_test.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead {
namespace {

class Tpm2Eventlog : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v tpm2_eventlog >/dev/null") != 0) {
      GTEST_SKIP() << "no tpm2_eventlog here (package tpm2-tools)";
    }
  }
  // Runs it on the log; what it says goes to `out` and `err` in the directory.
  bool accepts(std::span<const std::byte> log) {
    std::ofstream(dir / "log", std::ios::binary)
        .write(static_cast<const char*>(static_cast<const void*>(log.data())),
               static_cast<std::streamsize>(log.size()));
    const std::string command = "cd '" + dir.path() + "' && tpm2_eventlog log >out 2>err";
    return std::system(command.c_str()) == 0;
  }
  std::string text(const char* name) {
    std::ifstream file(dir / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempDir dir;
};

TEST_F(Tpm2Eventlog, ReadsOurLogAndComesToOurValues) {
  const auto events = measure_launch(sample_facts()).value();
  ASSERT_TRUE(accepts(log_of(events)));
  EXPECT_EQ(text("err"), "");
  std::ifstream out(dir / "out");
  const PrintedPcrs theirs = read_pcr_values(out);
  EXPECT_EQ(theirs.size(), 20u);  // PCR 0 to 9 of two banks
  EXPECT_EQ(pcr_values(predict_pcrs(events).value(), theirs), theirs);
  EXPECT_NE(text("out").find("kernel_cmdline: console=ttyS0 root="), std::string::npos);
}

// It would notice: a log with another digest has other values.
TEST_F(Tpm2Eventlog, ComesToOtherValuesWithAnotherLog) {
  auto events = measure_launch(sample_facts()).value();
  ASSERT_TRUE(accepts(log_of(events)));
  std::ifstream out(dir / "out");
  const PrintedPcrs theirs = read_pcr_values(out);
  events.back().digests[0].bytes()[0] ^= std::byte{1};
  EXPECT_NE(pcr_values(predict_pcrs(events).value(), theirs), theirs);
}

}  // namespace
}  // namespace bulkhead
