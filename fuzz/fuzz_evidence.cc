// SPDX-License-Identifier: Apache-2.0
// Evidence, from whoever shows it: refused, or a value that is written and read as the same again;
// and none is accepted by who trusts nobody.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "attest/evidence_verifier.h"
#include "attest/json/attestation_result.h"
#include "attest/json/evidence_json.h"
#include "base/check.h"

namespace bulkhead {
namespace {

void judge(const Evidence& evidence) {
  static const TrustStore nobody = TrustStore::create().value();
  const Policy policy;
  EvidenceExpectation expectation{.policy = policy, .trust = nobody, .now = {}};
  expectation.challenge = Challenge{evidence.nonce, evidence.requester_key};
  const EvidenceVerdict verdict = verify_evidence(evidence, expectation);
  CHECK(!verdict.report.accepted() && !verdict.partition);
  CHECK(verdict.report.refusal() != nullptr);
  CHECK(verdict.report.findings().size() == kCheckCount);
  for (const Finding& finding : verdict.report.findings()) {
    for (const char c : to_line(finding)) CHECK(c >= ' ' && c <= '~');
  }
  const ResultContext context{.verifier = "", .policy = {}, .now = {}, .expectation = expectation};
  CHECK(!result_json(verdict, context).empty());
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  const auto* text = static_cast<const char*>(static_cast<const void*>(data));
  std::string error;
  const auto evidence = parse_evidence(std::string_view(text, size), error);
  // The short way gives nothing that the long way does not.
  std::string same_error;
  CHECK(parse_evidence_of_any_form(std::string_view(text, size), same_error) == evidence);
  CHECK(same_error == error);
  if (!evidence) {
    CHECK(!error.empty());
    for (const char c : error) CHECK(c >= ' ' && c <= '~');
    return 0;
  }
  const auto again = parse_evidence(write_evidence(*evidence), error);
  CHECK(again && *again == *evidence);
  judge(*evidence);
  return 0;
}
