// SPDX-License-Identifier: Apache-2.0
#include "attest/evidence_verifier.h"

#include <algorithm>

#include "attest/certificate_judge.h"

namespace bulkhead {
namespace {

constexpr std::string_view kTpmProgram = "bulkhead-vtpm";

// What the policy needs, and what it needs to believe the log: all of that in the bank that the
// policy looks at.
PcrSelections needed_pcrs(const Policy& policy, const Rules& rules) {
  PcrSelections needed = policy.required_pcrs(rules);
  const auto ours = [](const PcrSelection& one) {
    return std::ranges::any_of(kMeasuredBanks,
                               [&](HashAlgorithm bank) { return to_tpm(bank) == one.bank; });
  };
  auto found = std::ranges::find_if(needed, ours);
  if (found == needed.end()) found = needed.insert(found, PcrSelection{TpmAlg::kSha256, 0});
  found->pcrs |= kLaunchPcrs;
  return needed;
}

// One version for all that one build has; what an image is, is not measured as a version.
PerComponent<std::optional<Version>> versions_of(const MonitorIdentity& monitor) {
  PerComponent<std::optional<Version>> versions;
  versions[Component::kMonitor] = parse_version(monitor.version);
  const bool has_tpm = std::ranges::any_of(
      monitor.programs, [](const MeasuredProgram& one) { return one.name == kTpmProgram; });
  if (has_tpm) versions[Component::kVtpm] = versions[Component::kMonitor];
  return versions;
}

bool has_passed(const Report& report, Check check) {
  return std::ranges::any_of(report.findings(), [check](const Finding& finding) {
    return finding.check == check && finding.outcome == CheckOutcome::kPassed;
  });
}

// Makes all checks of one piece of evidence, part by part.
class EvidenceJudge {
 public:
  EvidenceJudge(const Evidence& evidence, const EvidenceExpectation& expectation,
                const CheckSwitches& switches)
      : evidence_(evidence), expectation_(expectation), switches_(switches), report_(switches) {}

  EvidenceVerdict judge() && {
    QuoteVerdict quote =
        verify_quote({evidence_.attest, evidence_.signature, evidence_.key, evidence_.pcrs},
                     quote_expectation(), switches_);
    const bool key_has_signed = has_passed(quote.report, Check::kSignature);
    report_.append(std::move(quote.report));
    host_ = judge_certificates(
        report_,
        {.chain = evidence_.certificates, .key = evidence_.key, .key_has_signed = key_has_signed},
        expectation_.trust, expectation_.now);
    if (!quote.quote) {
      refuse_rest();
      return {.report = std::move(report_), .partition = {}};
    }
    launch_ = judge_event_log(report_, evidence_.event_log, quote.pcrs);
    Claims claims = claims_of(std::move(quote.pcrs));
    report_.append(evaluate(expectation_.policy, secret(), claims, switches_));
    return verdict(std::move(claims), std::move(*quote.quote));
  }

 private:
  std::optional<std::string_view> secret() const {
    if (!expectation_.secret) return std::nullopt;
    return *expectation_.secret;
  }
  const Rules& rules() const {
    const Rules* rules = expectation_.policy.rules_for(secret());
    return rules != nullptr ? *rules : expectation_.policy.general;
  }
  QuoteExpectation quote_expectation() const;
  void refuse_rest();
  Claims claims_of(PcrValues pcrs) const;
  EvidenceVerdict verdict(Claims claims, TpmQuote quote);

  const Evidence& evidence_;
  const EvidenceExpectation& expectation_;
  const CheckSwitches& switches_;
  Report report_;
  std::optional<HostIdentity> host_;
  std::optional<LaunchFacts> launch_;
};

QuoteExpectation EvidenceJudge::quote_expectation() const {
  return {.challenge = expectation_.challenge,
          .parent_name = endorsement_hierarchy(),
          .pcrs = needed_pcrs(expectation_.policy, rules()),
          .algorithms = rules().algorithms};
}

// Nothing about the partition is proven without a quote.
void EvidenceJudge::refuse_rest() {
  for (auto check = static_cast<unsigned>(Check::kEventLog); check < kCheckCount; ++check) {
    report_.not_reached(static_cast<Check>(check));
  }
}

Claims EvidenceJudge::claims_of(PcrValues pcrs) const {
  Claims claims;
  claims.pcrs = std::move(pcrs);
  if (launch_) {
    claims.isolation = launch_->config.isolation;
    claims.debug = launch_->config.debug;
    claims.tpm_state = launch_->config.tpm_state;
    claims.versions = versions_of(launch_->monitor);
  }
  if (host_) claims.host = host_->fingerprint;
  // The quote answers the nonce, so it is no older than that.
  if (expectation_.challenge) claims.quote_age_s = expectation_.asked_s_ago;
  claims.age_is_open = !expectation_.asked_s_ago;
  return claims;
}

EvidenceVerdict EvidenceJudge::verdict(Claims claims, TpmQuote quote) {
  EvidenceVerdict verdict{.report = std::move(report_), .partition = {}};
  if (!verdict.report.accepted() || !launch_ || !host_) return verdict;
  verdict.partition = AttestedPartition{.claims = std::move(claims),
                                        .launch = std::move(*launch_),
                                        .host = *host_,
                                        .quote = std::move(quote)};
  return verdict;
}

}  // namespace

EvidenceVerdict verify_evidence(const Evidence& evidence, const EvidenceExpectation& expectation,
                                const CheckSwitches& switches) {
  return EvidenceJudge(evidence, expectation, switches).judge();
}

}  // namespace bulkhead
