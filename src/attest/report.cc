// SPDX-License-Identifier: Apache-2.0
#include "attest/report.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace bulkhead {
namespace {

struct CheckText {
  const char* name;
  const char* refusal;
};

// In the order of Check.
constexpr std::array<CheckText, kCheckCount> kTexts = {{
    {"key-attributes", "the key is not one that signs what its TPM made, and nothing else"},
    {"algorithm", "the signature's algorithm is not accepted, or not the key's own"},
    {"signature", "the attestation key did not sign this"},
    {"magic", "this was not made by a TPM: it lacks TPM_GENERATED_VALUE"},
    {"type", "the TPM said something else with this: it is not a quote"},
    {"structure", "the attested structure is malformed"},
    {"qualified-signer", "another key, or one in another place of a TPM, signed this"},
    {"nonce", "the quote does not answer this challenge, or was made for another requester's key"},
    {"pcr-selection", "the quote leaves out PCRs that the policy depends on"},
    {"pcr-digest", "the PCR values are not those that were quoted"},
    {"certificate-chain", "nobody whom we trust says that the key belongs to a machine"},
    {"certificate-key", "the certificate is that of another key"},
    {"certificate-time", "a certificate has expired, or is not valid yet"},
    {"host-identity", "the partition CA does not say which machine it belongs to"},
    {"event-log", "the event log does not explain the quoted PCR values"},
    {"launch", "the event log does not tell of a partition's start"},
    {"secret", "the policy has no section for this secret"},
    {"debug", "the partition's monitor lets itself be debugged"},
    {"rollback", "an older state of the partition's TPM could be put back unnoticed"},
    {"isolation", "the partition's memory is isolated less than the policy demands"},
    {"version", "a component is older than the policy demands, or says no version"},
    {"host", "the partition does not run on a machine that the policy names"},
    {"freshness", "the quote is too old"},
    {"measurement", "what was started is not what the policy accepts"},
}};

const CheckText& text_of(Check check) {
  const auto index = static_cast<std::size_t>(check);
  CHECK(index < kTexts.size());
  return kTexts[index];
}

bool is_fatal(const Finding& finding) {
  return finding.outcome == CheckOutcome::kFailed || finding.outcome == CheckOutcome::kNotReached;
}

}  // namespace

const char* to_string(Check check) {
  return text_of(check).name;
}

const char* refusal_text(Check check) {
  return text_of(check).refusal;
}

const char* to_string(CheckOutcome outcome) {
  switch (outcome) {
    case CheckOutcome::kPassed:
      return "passed";
    case CheckOutcome::kFailed:
      return "FAILED";
    case CheckOutcome::kNotReached:
      return "not reached";
    case CheckOutcome::kNotApplicable:
      return "not applicable";
    case CheckOutcome::kOff:
      return "off";
  }
  return "unknown";
}

std::string to_line(const Finding& finding) {
  std::string line = std::string(to_string(finding.outcome)) + " " + to_string(finding.check);
  if (!finding.seen.empty()) line += ": seen " + finding.seen;
  if (!finding.wanted.empty()) line += (finding.seen.empty() ? ": " : ", wanted ") + finding.wanted;
  if (finding.outcome == CheckOutcome::kFailed)
    line += std::string(": ") + refusal_text(finding.check);
  return line;
}

void Report::judge(Check check, bool passed, std::string seen, std::string wanted) {
  add(check, passed ? CheckOutcome::kPassed : CheckOutcome::kFailed, std::move(seen),
      std::move(wanted));
}

void Report::not_reached(Check check) {
  add(check, CheckOutcome::kNotReached, "", "");
}

void Report::not_applicable(Check check, std::string why) {
  add(check, CheckOutcome::kNotApplicable, "", std::move(why));
}

void Report::add(Check check, CheckOutcome outcome, std::string seen, std::string wanted) {
  CHECK(std::ranges::find(findings_, check, &Finding::check) == findings_.end());
  if (switches_.is_off(check)) outcome = CheckOutcome::kOff;
  findings_.push_back({check, outcome, std::move(seen), std::move(wanted)});
}

void Report::append(Report other) {
  for (Finding& finding : other.findings_) {
    add(finding.check, finding.outcome, std::move(finding.seen), std::move(finding.wanted));
  }
}

const Finding* Report::refusal() const {
  const auto found = std::ranges::find(findings_, CheckOutcome::kFailed, &Finding::outcome);
  return found == findings_.end() ? nullptr : &*found;
}

bool Report::accepted() const {
  return !findings_.empty() && std::ranges::none_of(findings_, is_fatal);
}

}  // namespace bulkhead
