// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "attest/evidence_verifier.h"
#include "crypto/signing_key.h"

namespace bulkhead {

// What a result says besides the verdict.
struct ResultContext {
  std::string verifier;   // "bulkhead 0.1.0"
  Sha256Digest policy{};  // of the policy's file
  UtcTime now;
  const EvidenceExpectation& expectation;
};

// All findings, and of an accepted partition what was proved, as a JSON object in a text.
std::string result_json(const EvidenceVerdict& verdict, const ResultContext& context);

// The same as a signed EAT Attestation Result: docs/formats/attestation-result.md. A compact JWS.
Result<std::string> result_token(const EvidenceVerdict& verdict, const ResultContext& context,
                                 const SigningKey& key);

}  // namespace bulkhead
