// SPDX-License-Identifier: Apache-2.0
#include "broker/policy_judge.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "attest/evidence_verifier.h"
#include "attest/json/evidence_json.h"
#include "attest/toml/policy_file.h"
#include "attest/trust_directory.h"

namespace bulkhead::broker {
namespace {

UtcTime system_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

Policy read_policy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw UsageError("policy " + path + ": cannot be read");
  PolicyError error;
  auto policy = parse_policy(text.str(), error);
  if (policy) return std::move(*policy);
  const std::string line = error.line == 0 ? "" : "line " + std::to_string(error.line) + ": ";
  throw UsageError("policy " + path + ": " + line + error.message);
}

TrustStore read_trust(const std::string& directory) {
  std::string error;
  if (directory.empty()) {
    if (auto nobody = TrustStore::create()) return std::move(*nobody);
    throw UsageError("OpenSSL makes no store of certificates");
  }
  auto store = read_trust_directory(directory, error);
  if (!store) throw UsageError(error);
  return std::move(*store);
}

// Whether other rules of the same policy may see it otherwise.
bool depends_on_rules(Check check) {
  return check == Check::kAlgorithm || check == Check::kPcrSelection || check >= Check::kSecret;
}

bool is_hopeless(const Report& report) {
  return std::ranges::any_of(report.findings(), [](const Finding& finding) {
    return finding.outcome == CheckOutcome::kFailed && !depends_on_rules(finding.check);
  });
}

}  // namespace

std::unique_ptr<PolicyJudge> PolicyJudge::create(const TenantConfig& tenant) {
  return std::make_unique<PolicyJudge>(read_policy(tenant.policy), read_trust(tenant.trust),
                                       system_now);
}

Report PolicyJudge::judge(const Question& question) const {
  std::string error;
  const auto evidence = parse_evidence(question.evidence, error);
  if (!evidence) return Report({});
  EvidenceExpectation expectation{.policy = policy_,
                                  .trust = trust_,
                                  .now = now_(),
                                  .secret = {},
                                  .challenge = question.challenge,
                                  .asked_s_ago = question.nonce_age_s};
  if (question.secret) expectation.secret = std::string(*question.secret);
  Report first = verify_evidence(*evidence, expectation).report;
  if (question.secret || first.accepted()) return first;
  // The general rules may be incomplete, or stricter than those of a secret.
  for (const auto& [name, rules] : policy_.secrets) {
    if (is_hopeless(first)) break;
    expectation.secret = name;
    Report report = verify_evidence(*evidence, expectation).report;
    if (report.accepted()) return report;
  }
  return first;
}

}  // namespace bulkhead::broker
