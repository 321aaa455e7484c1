// SPDX-License-Identifier: Apache-2.0
#include "vtpm/platform.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "vtpm/commands_for_test.h"
#include "vtpm/process_handle.h"

namespace bulkhead::vtpm {
namespace {

// libtpms itself, in its process.
class VtpmPlatform : public ::testing::Test {
 protected:
  void power_on() {
    ASSERT_TRUE(process_->client().init());
    ASSERT_TRUE(platform_.startup());
  }
  // Of one PCR, in the SHA-256 bank: behind the header, the counter, the selection and two counts.
  Bytes pcr(unsigned number) {
    const Bytes response = run(process_->client(), pcr_read_command(number)).value();
    return {response.end() - 32, response.end()};
  }
  static DigestSet digests_of(std::string_view text) {
    return MultiHash::of(kMeasuredBanks, std::as_bytes(std::span(text))).value();
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_PATH).value();
  const std::unique_ptr<ProcessHandle> process_ =
      ProcessHandle::start({.program_fd = program_.get()}).value();
  Platform platform_{process_->client()};
};

TEST_F(VtpmPlatform, HasTheBanksThatWereChosenFromTheNextStartOn) {
  power_on();
  const PcrSelections before = platform_.banks().value();
  EXPECT_GT(before.size(), 2U);  // the control: libtpms comes with others
  ASSERT_TRUE(platform_.choose_banks(kMeasuredBanks));
  EXPECT_EQ(platform_.banks().value(), before);
  power_on();
  const PcrSelections wanted{{TpmAlg::kSha256, 0xffffff}, {TpmAlg::kSha384, 0xffffff}};
  EXPECT_EQ(platform_.banks().value(), wanted);
}

TEST_F(VtpmPlatform, ExtendsAsPredicted) {
  power_on();
  PcrBank predicted(HashAlgorithm::kSha256, StartupLocality::kZero);
  EXPECT_EQ(pcr(4), Bytes(32));
  for (const char* text : {"one", "two"}) {
    const DigestSet digests = digests_of(text);
    ASSERT_TRUE(platform_.extend(Pcr{4}, digests));
    ASSERT_TRUE(predicted.extend(Pcr{4}, digests[0]));
    const Digest value = predicted.value(Pcr{4}).value();
    EXPECT_EQ(pcr(4), copy_of(value.bytes()));
  }
  EXPECT_EQ(pcr(5), Bytes(32));
}

TEST_F(VtpmPlatform, NobodyHasItsAuthorityAfterwards) {
  power_on();
  EXPECT_TRUE(platform_.choose_banks(kMeasuredBanks));  // the control
  ASSERT_TRUE(platform_.give_up_authority());
  EXPECT_EQ(platform_.choose_banks(kMeasuredBanks).error().code, Errc::kIo);
  EXPECT_EQ(platform_.give_up_authority().error().code, Errc::kIo);
  EXPECT_TRUE(platform_.extend(Pcr{16}, digests_of("needs none")));
  power_on();
  EXPECT_TRUE(platform_.choose_banks(kMeasuredBanks));
}

TEST_F(VtpmPlatform, ARefusalIsAnError) {
  ASSERT_TRUE(process_->client().init());
  EXPECT_EQ(platform_.extend(Pcr{0}, digests_of("before Startup")).error().code, Errc::kIo);
  EXPECT_EQ(platform_.banks().error().code, Errc::kIo);
}

}  // namespace
}  // namespace bulkhead::vtpm
