// SPDX-License-Identifier: Apache-2.0
#include "broker/policy_judge.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "attest/evidence_case_for_test.h"
#include "attest/json/evidence_json.h"
#include "broker/testing/shell.h"

namespace bulkhead::broker {
namespace {

// A partition that some relying party accepts (attest/evidence_case_for_test.h), seen by a broker.
class PolicyJudgeTest : public ::testing::Test {
 protected:
  Report judge(std::optional<std::string_view> secret = std::nullopt) {
    const PolicyJudge judge(case_.policy, trust(), [this] { return case_.now; });
    const std::string evidence = write_evidence(case_.evidence());
    return judge.judge({.evidence = evidence,
                        .challenge = asked_.value_or(case_.challenge),
                        .nonce_age_s = case_.asked_s_ago,
                        .secret = secret});
  }
  Check refusal(std::optional<std::string_view> secret = std::nullopt) {
    const Report report = judge(secret);
    CHECK(report.refusal() != nullptr);
    return report.refusal()->check;
  }
  TrustStore trust() const {
    TrustStore store = TrustStore::create().value();
    CHECK(store.add(Certificate::parse(case_.root->der()).value()));
    return store;
  }

  EvidenceCase case_;
  std::optional<Challenge> asked_;  // what the broker asked, if not what was answered
};

TEST_F(PolicyJudgeTest, GoodEvidenceIsAccepted) {
  EXPECT_TRUE(judge().accepted());
  EXPECT_EQ(refusal("default/disk/key"), Check::kSecret);  // the policy has no such section
  case_.policy.secrets["default/disk/key"] = case_.policy.general;
  EXPECT_TRUE(judge("default/disk/key").accepted());
}

TEST_F(PolicyJudgeTest, TheBrokersNonceAndKeyCountAndNoOthers) {
  asked_ = case_.challenge;
  asked_->nonce[0] ^= std::byte{1};
  EXPECT_EQ(refusal(), Check::kNonce);
  asked_ = case_.challenge;
  (*asked_->requester_key)[0] ^= std::byte{1};
  EXPECT_EQ(refusal(), Check::kNonce);
}

TEST_F(PolicyJudgeTest, AnOldAnswerIsRefused) {
  case_.asked_s_ago = case_.policy.general.max_quote_age_s + 1;
  EXPECT_EQ(refusal(), Check::kFreshness);
}

TEST_F(PolicyJudgeTest, WhoGetsAnySecretMayAttest) {
  case_.policy.secrets["default/lab/token"] = case_.policy.general;
  case_.policy.general.isolation = Isolation::kSnp;
  EXPECT_TRUE(judge().accepted());
  EXPECT_TRUE(judge("default/lab/token").accepted());
  case_.policy.secrets["default/lab/token"].isolation = Isolation::kSnp;
  EXPECT_EQ(refusal(), Check::kIsolation);
}

TEST_F(PolicyJudgeTest, NoRulesHelpWhoIsNotCertified) {
  case_.policy.secrets["default/lab/token"] = case_.policy.general;
  case_.certificates.clear();
  EXPECT_EQ(refusal(), Check::kCertificateChain);
}

TEST_F(PolicyJudgeTest, WhatIsNoEvidenceIsNotAccepted) {
  const PolicyJudge judge(case_.policy, trust(), [this] { return case_.now; });
  for (const char* text : {"", "{}", "[]", "{\"eat_profile\": 1}"}) {
    const Report report = judge.judge(
        {.evidence = text, .challenge = case_.challenge, .nonce_age_s = 0, .secret = {}});
    EXPECT_FALSE(report.accepted()) << text;
    EXPECT_TRUE(report.findings().empty()) << text;
  }
}

TEST_F(PolicyJudgeTest, FilesThatAreWrongAreRefusedWithTheirPlace) {
  const TempDir dir;
  const auto complaint = [&](const std::string& policy, const std::string& trust) -> std::string {
    try {
      PolicyJudge::create({.name = "alice", .policy = policy, .trust = trust});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  const std::string policy = dir / "policy.toml";
  EXPECT_NE(complaint(policy, "").find("cannot be read"), std::string::npos);
  std::ofstream(policy) << "version = 1\nisolashun = \"carved\"\n";
  EXPECT_NE(complaint(policy, "").find("line 2"), std::string::npos);
  std::ofstream(policy) << "version = 1\nisolation = \"carved\"\n[pcr.sha256]\n4 = \""
                        << std::string(64, '0') << "\"\n";
  EXPECT_EQ(complaint(policy, ""), "");
  EXPECT_NE(complaint(policy, dir / "roots").find("roots"), std::string::npos);
  std::filesystem::create_directory(dir / "roots");
  EXPECT_NE(complaint(policy, dir / "roots").find("put roots there"), std::string::npos);
  std::ofstream(dir / "roots/a.pem") << case_.root->pem();
  EXPECT_EQ(complaint(policy, dir / "roots"), "");
  std::ofstream(dir / "roots/b.pem") << "no certificate";
  EXPECT_NE(complaint(policy, dir / "roots").find("b.pem"), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::broker
