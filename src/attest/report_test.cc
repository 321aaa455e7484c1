// SPDX-License-Identifier: Apache-2.0
#include "attest/report.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "attest/check_switches_for_test.h"

namespace bulkhead {
namespace {

TEST(Report, AcceptsOnlyIfNothingFailed) {
  Report report{CheckSwitches{}};
  EXPECT_FALSE(report.accepted());  // nothing was checked
  report.judge(Check::kMagic, true, "a", "a");
  report.not_applicable(Check::kNonce, "none");
  EXPECT_TRUE(report.accepted());
  report.not_reached(Check::kPcrDigest);
  EXPECT_FALSE(report.accepted());
  EXPECT_EQ(report.refusal(), nullptr);
  report.judge(Check::kType, false, "b", "c");
  ASSERT_NE(report.refusal(), nullptr);
  EXPECT_EQ(report.refusal()->check, Check::kType);
}

TEST(Report, LinesSayWhatWasSeenAndWanted) {
  EXPECT_EQ(to_line({Check::kMagic, CheckOutcome::kPassed, "ff", "fe"}),
            "passed magic: seen ff, wanted fe");
  EXPECT_EQ(to_line({Check::kFreshness, CheckOutcome::kFailed, "9 s old", "at most 1 s"}),
            "FAILED freshness: seen 9 s old, wanted at most 1 s: the quote is too old");
  EXPECT_EQ(to_line({Check::kNonce, CheckOutcome::kNotApplicable, "", "no nonce"}),
            "not applicable nonce: no nonce");
  EXPECT_EQ(to_line({Check::kNonce, CheckOutcome::kNotReached, "", ""}), "not reached nonce");
}

TEST(Report, EveryCheckHasItsOwnNameAndReason) {
  std::set<std::string> names;
  std::set<std::string> reasons;
  for (unsigned i = 0; i < kCheckCount; ++i) {
    names.insert(to_string(Check(i)));
    reasons.insert(refusal_text(Check(i)));
  }
  EXPECT_EQ(names.size(), kCheckCount);
  EXPECT_EQ(reasons.size(), kCheckCount);
}

TEST(Report, OnlyATestSwitchesChecksOff) {
  for (unsigned i = 0; i < kCheckCount; ++i) EXPECT_FALSE(CheckSwitches{}.is_off(Check(i)));
  const auto switches = CheckSwitchesForTest::without({Check::kNonce});
  for (unsigned i = 0; i < kCheckCount; ++i) {
    EXPECT_EQ(switches.is_off(Check(i)), Check(i) == Check::kNonce);
  }
}

}  // namespace
}  // namespace bulkhead
