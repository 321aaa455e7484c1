// SPDX-License-Identifier: Apache-2.0
#include "attest/json/attestation_result.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/base64.h"

namespace bulkhead {
namespace {

using Json = nlohmann::ordered_json;

// draft-ietf-rats-ear, 3.2, and draft-ietf-rats-ar4si, 2.3.4: tiers and values.
constexpr const char* kEarProfile = "tag:github.com,2023:veraison/ear";
constexpr int kAffirming = 2;
constexpr int kWarning = 32;
constexpr int kContraindicated = 96;

const char* name_of(HostIdentity::Kind kind) {
  return kind == HostIdentity::Kind::kTpm ? "tpm" : "software";
}

Json findings_of(const Report& report) {
  Json findings = Json::array();
  for (const Finding& finding : report.findings()) {
    Json one = {{"check", to_string(finding.check)}, {"outcome", to_string(finding.outcome)}};
    if (!finding.seen.empty()) one["seen"] = finding.seen;
    if (!finding.wanted.empty()) one["wanted"] = finding.wanted;
    findings.push_back(std::move(one));
  }
  return findings;
}

Json versions_of(const Claims& claims) {
  Json versions = Json::object();
  for (Component component : kComponents) {
    const auto& version = claims.versions[component];
    if (version) versions[to_string(component)] = to_string(*version);
  }
  return versions;
}

Json pcrs_of(const PcrValues& values) {
  Json pcrs = Json::object();
  for (const auto& [pcr, value] : values.all()) {
    pcrs[to_string(pcr.bank)][std::to_string(pcr.index)] = to_hex(value);
  }
  return pcrs;
}

Json clock_of(const TpmQuote& quote) {
  return {{"uptime_ms", quote.clock.clock_ms},
          {"resets", quote.clock.reset_count},
          {"restarts", quote.clock.restart_count},
          {"safe", quote.clock.safe}};
}

// What can be in a command line is the partition's owner's to say, also that it is no UTF-8.
std::string printable(const std::string& text) {
  std::string out;
  for (char c : text) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

Json partition_of(const AttestedPartition& partition, const EvidenceExpectation& expectation) {
  Json json = {
      {"isolation", to_string(partition.claims.isolation)},
      {"debug", partition.claims.debug},
      {"tpm_state", to_string(partition.claims.tpm_state)},
      {"versions", versions_of(partition.claims)},
      {"host",
       {{"kind", name_of(partition.host.kind)},
        {"fingerprint", to_hex(partition.host.fingerprint)}}},
      {"command_line", printable(partition.launch.command_line)},
      {"pcrs", pcrs_of(partition.claims.pcrs)},
      {"tpm_clock", clock_of(partition.quote)},
  };
  if (partition.claims.quote_age_s) json["quote_age_s"] = *partition.claims.quote_age_s;
  const auto& challenge = expectation.challenge;
  if (challenge && challenge->requester_key) {
    json["requester_key"] = encode_base64(Base64::kUrl, *challenge->requester_key);
  }
  return json;
}

Json content_of(const EvidenceVerdict& verdict, const ResultContext& context) {
  Json json = {{"accepted", verdict.report.accepted()},
               {"time", to_string(context.now)},
               {"fresh", verdict.report.accepted() && context.expectation.challenge.has_value()}};
  if (context.expectation.secret) json["secret"] = *context.expectation.secret;
  if (const Finding* refusal = verdict.report.refusal()) {
    json["reason"] = to_string(refusal->check);
    json["reason_text"] = refusal_text(refusal->check);
  }
  if (verdict.partition) json["partition"] = partition_of(*verdict.partition, context.expectation);
  json["findings"] = findings_of(verdict.report);
  return json;
}

// Without a nonce of the relying party's, evidence may be a replay: no more than a warning.
int status_of(const EvidenceVerdict& verdict, const ResultContext& context) {
  if (!verdict.report.accepted()) return kContraindicated;
  return context.expectation.challenge ? kAffirming : kWarning;
}

const char* tier_of(int status) {
  if (status == kAffirming) return "affirming";
  return status == kWarning ? "warning" : "contraindicated";
}

// Whether none of these checks failed, or was not reached.
bool held(const Report& report, std::initializer_list<Check> checks) {
  for (const Finding& finding : report.findings()) {
    const bool good =
        finding.outcome == CheckOutcome::kPassed || finding.outcome == CheckOutcome::kNotApplicable;
    if (!good && std::find(checks.begin(), checks.end(), finding.check) != checks.end()) {
      return false;
    }
  }
  return true;
}

int value_of(bool good) {
  return good ? kAffirming : kContraindicated;
}

Json vector_of(const Report& report) {
  return {
      {"instance-identity",
       value_of(held(report,
                     {Check::kKeyAttributes, Check::kSignature, Check::kQualifiedSigner,
                      Check::kCertificateChain, Check::kCertificateKey, Check::kCertificateTime}))},
      {"configuration", value_of(held(report, {Check::kDebug, Check::kRollback, Check::kIsolation,
                                               Check::kEventLog, Check::kLaunch}))},
      {"executables",
       value_of(held(report, {Check::kPcrDigest, Check::kVersion, Check::kMeasurement}))},
      {"hardware", value_of(held(report, {Check::kHostIdentity, Check::kHost}))},
  };
}

Json token_of(const EvidenceVerdict& verdict, const ResultContext& context) {
  const int status = status_of(verdict, context);
  Json appraisal = {{"ear.status", tier_of(status)},
                    {"ear.trustworthiness-vector", vector_of(verdict.report)},
                    {"ear.appraisal-policy-id", "urn:sha256:" + to_hex(context.policy)},
                    {"bulkhead.result", content_of(verdict, context)}};
  Json token = {{"eat_profile", kEarProfile},
                {"iat", context.now.time_since_epoch().count()},
                {"ear.verifier-id", {{"developer", "bulkhead"}, {"build", context.verifier}}},
                {"submods", {{"partition", std::move(appraisal)}}}};
  if (context.expectation.challenge) {
    token["eat_nonce"] = encode_base64(Base64::kUrl, context.expectation.challenge->nonce);
  }
  return token;
}

std::string as_part(const Json& json) {
  const std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
  return encode_base64(Base64::kUrl, std::as_bytes(std::span(text)));
}

}  // namespace

std::string result_json(const EvidenceVerdict& verdict, const ResultContext& context) {
  return content_of(verdict, context).dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

Result<std::string> result_token(const EvidenceVerdict& verdict, const ResultContext& context,
                                 const SigningKey& key) {
  std::string token =
      as_part({{"alg", "ES256"}, {"typ", "JWT"}}) + "." + as_part(token_of(verdict, context));
  const auto signature = TRY(key.sign_es256(std::as_bytes(std::span(token))));
  return token + "." + encode_base64(Base64::kUrl, signature);
}

}  // namespace bulkhead
