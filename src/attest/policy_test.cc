// SPDX-License-Identifier: Apache-2.0
#include "attest/policy.h"

#include <gtest/gtest.h>

#include "attest/check_switches_for_test.h"

namespace bulkhead {
namespace {

constexpr std::string_view kSecret = "default/disk/key";

Bytes filled(unsigned value) {
  return Bytes(32, static_cast<std::byte>(value));
}
Sha256Digest host(unsigned value) {
  Sha256Digest digest;
  digest.fill(static_cast<std::byte>(value));
  return digest;
}
PcrId pcr(unsigned index) {
  return {TpmAlg::kSha256, index};
}
PcrValues values(std::initializer_list<std::pair<unsigned, unsigned>> pairs) {
  PcrValues all;
  for (auto [index, value] : pairs) CHECK(all.set(pcr(index), filled(value)));
  return all;
}

// A policy and claims that satisfy it in every point.
struct PolicyCase {
  PolicyCase() {
    policy.references.emplace("web-1", values({{0, 1}, {4, 2}, {8, 3}}));
    policy.references.emplace("web-2", values({{0, 1}, {4, 2}, {8, 4}}));
    policy.general.isolation = Isolation::kMemfd;
    policy.general.references = {"web-1", "web-2"};
    Rules& rules = policy.secrets[std::string(kSecret)];
    rules.isolation = Isolation::kCarved;
    rules.minimum_versions[Component::kMonitor] = Version{0, 2, 0};
    rules.minimum_versions[Component::kImage] = Version{3, 0, 0};
    rules.hosts = {host(1), host(2)};
    rules.max_quote_age_s = 60;
    rules.references = {"web-1", "web-2"};
    rules.pcrs[pcr(7)] = {filled(7), filled(8)};
    claims.pcrs = values({{0, 1}, {4, 2}, {7, 8}, {8, 4}});
    claims.isolation = Isolation::kCarved;
    claims.versions[Component::kMonitor] = Version{0, 2, 0};
    claims.versions[Component::kImage] = Version{3, 1, 0};
    claims.debug = false;
    claims.tpm_state = TpmState::kHostCounter;
    claims.host = host(2);
    claims.quote_age_s = 60;
  }

  Rules& rules() { return policy.secrets.begin()->second; }
  Report judge(const CheckSwitches& switches = {}) const {
    return evaluate(policy, secret, claims, switches);
  }

  Policy policy;
  std::optional<std::string_view> secret = kSecret;
  Claims claims;
};

std::string lines(const Report& report) {
  std::string text;
  for (const Finding& finding : report.findings()) text += to_line(finding) + "\n";
  return text;
}

// Refused for this reason alone, and accepted without this check.
void expect_refused_by(Check check, const PolicyCase& policy_case) {
  const Report refused = policy_case.judge();
  EXPECT_FALSE(refused.accepted());
  for (const Finding& finding : refused.findings()) {
    EXPECT_EQ(finding.outcome == CheckOutcome::kFailed, finding.check == check) << to_line(finding);
  }
  const Report accepted = policy_case.judge(CheckSwitchesForTest::without({check}));
  EXPECT_TRUE(accepted.accepted()) << lines(accepted);
}

TEST(Policy, AcceptsWhatSatisfiesIt) {
  const PolicyCase good;
  EXPECT_TRUE(good.judge().accepted()) << lines(good.judge());
  EXPECT_EQ(good.judge().findings().size(), 8U);
}

TEST(Policy, FindingsComeInTheDocumentedOrder) {
  const Report report = PolicyCase().judge();
  for (std::size_t i = 0; i < report.findings().size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(report.findings()[i].check),
              static_cast<std::size_t>(Check::kSecret) + i);
  }
}

TEST(Policy, ASecretWithoutASection) {
  PolicyCase bad;
  bad.secret = "default/disk/kez";
  // Without the check the general rules would count: they accept.
  expect_refused_by(Check::kSecret, bad);
  bad.secret = std::nullopt;
  EXPECT_TRUE(bad.judge().accepted());
}

TEST(Policy, ADebugMonitor) {
  PolicyCase bad;
  bad.claims.debug = true;
  expect_refused_by(Check::kDebug, bad);
  bad.rules().allow_debug = true;
  EXPECT_TRUE(bad.judge().accepted());
}

TEST(Policy, AStateThatOnlyAFileCounts) {
  PolicyCase bad;
  bad.claims.tpm_state = TpmState::kFileCounter;
  expect_refused_by(Check::kRollback, bad);
  bad.claims.tpm_state = TpmState::kTransient;
  EXPECT_TRUE(bad.judge().accepted());
  bad.claims.tpm_state = TpmState::kFileCounter;
  bad.rules().allow_file_counter = true;
  EXPECT_TRUE(bad.judge().accepted());
}

TEST(Policy, LessIsolation) {
  PolicyCase bad;
  bad.claims.isolation = Isolation::kHugetlb;
  expect_refused_by(Check::kIsolation, bad);
  bad.claims.isolation = Isolation::kSnp;
  EXPECT_TRUE(bad.judge().accepted());
  bad.rules().isolation = Isolation::kNone;  // nobody said: nothing is enough
  expect_refused_by(Check::kIsolation, bad);
}

TEST(Policy, AnOlderOrUnknownVersion) {
  PolicyCase bad;
  bad.claims.versions[Component::kImage] = Version{2, 99, 99};
  expect_refused_by(Check::kVersion, bad);
  EXPECT_NE(lines(bad.judge())
                .find("seen monitor 0.2.0, image 2.99.99, wanted monitor 0.2.0 or "
                      "later, image 3.0.0 or later"),
            std::string::npos)
      << lines(bad.judge());
  bad.claims.versions[Component::kImage].reset();
  expect_refused_by(Check::kVersion, bad);
}

TEST(Policy, AnotherOrUnknownMachine) {
  PolicyCase bad;
  bad.claims.host = host(3);
  expect_refused_by(Check::kHost, bad);
  bad.claims.host.reset();
  expect_refused_by(Check::kHost, bad);
  bad.rules().hosts.clear();
  EXPECT_TRUE(bad.judge().accepted());
}

TEST(Policy, AnOldQuote) {
  PolicyCase bad;
  bad.claims.quote_age_s = 61;
  expect_refused_by(Check::kFreshness, bad);
  bad.claims.quote_age_s.reset();
  expect_refused_by(Check::kFreshness, bad);
}

TEST(Policy, AnotherMeasurement) {
  PolicyCase bad;
  bad.claims.pcrs = values({{0, 1}, {4, 2}, {7, 8}, {8, 5}});
  expect_refused_by(Check::kMeasurement, bad);
  EXPECT_NE(lines(bad.judge()).find("sha256:8 = " + to_hex(filled(5))), std::string::npos);
  EXPECT_NE(lines(bad.judge()).find("web-1 is the nearest reference"), std::string::npos);
}

// Half of one image and half of another is neither.
TEST(Policy, AMixtureOfReferences) {
  PolicyCase bad;
  bad.policy.references.clear();
  bad.policy.references.emplace("web-1", values({{4, 1}, {8, 1}}));
  bad.policy.references.emplace("web-2", values({{4, 2}, {8, 2}}));
  bad.claims.pcrs = values({{4, 1}, {7, 7}, {8, 2}});
  expect_refused_by(Check::kMeasurement, bad);
}

TEST(Policy, APcrThatWasNotQuoted) {
  PolicyCase bad;
  bad.claims.pcrs = values({{0, 1}, {7, 8}, {8, 4}});
  expect_refused_by(Check::kMeasurement, bad);
  EXPECT_NE(lines(bad.judge()).find("sha256:4 = not quoted"), std::string::npos);
}

TEST(Policy, AValueThatIsNotListed) {
  PolicyCase bad;
  bad.claims.pcrs = values({{0, 1}, {4, 2}, {7, 9}, {8, 4}});
  expect_refused_by(Check::kMeasurement, bad);
  EXPECT_NE(lines(bad.judge()).find("wanted sha256:7 = one of 2 values"), std::string::npos)
      << lines(bad.judge());
}

TEST(Policy, RulesWithoutMeasurementsAcceptNone) {
  PolicyCase bad;
  bad.rules().references.clear();
  bad.rules().pcrs.clear();
  expect_refused_by(Check::kMeasurement, bad);
  bad = PolicyCase();
  bad.policy.references["web-1"] = {};  // one without values would match everything
  bad.rules().references = {"web-1"};
  expect_refused_by(Check::kMeasurement, bad);
  bad.rules().references = {"web-9"};
  expect_refused_by(Check::kMeasurement, bad);
}

TEST(Policy, AnUnfilledClaimFailsEverywhere) {
  PolicyCase bad;
  bad.claims = {};
  const Report report = bad.judge();
  for (const Finding& finding : report.findings()) {
    EXPECT_EQ(finding.outcome == CheckOutcome::kFailed, finding.check != Check::kSecret)
        << to_line(finding);
  }
}

TEST(Policy, AQuoteMustSelectWhatTheRulesName) {
  PolicyCase good;
  EXPECT_EQ(to_string(good.policy.required_pcrs(good.rules())), "sha256:0,4,7,8");
  good.rules().pcrs[{TpmAlg::kSha384, 1}] = {Bytes(48)};
  EXPECT_EQ(to_string(good.policy.required_pcrs(good.rules())), "sha256:0,4,7,8+sha384:1");
}

}  // namespace
}  // namespace bulkhead
