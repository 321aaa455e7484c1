// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/event_log_judge.h"
#include "attest/evidence.h"
#include "attest/policy.h"
#include "attest/trust_store.h"

namespace bulkhead {

// What a relying party knows by itself, and nothing of which may come from the evidence, with one
// exception: without a key of its own to compare with, it may take over the evidence's
// requester_key into the challenge, and is then told for whom the quote was made.
struct EvidenceExpectation {
  const Policy& policy;
  const TrustStore& trust;
  UtcTime now;
  std::optional<std::string> secret = {};         // none: the policy's general rules
  std::optional<Challenge> challenge = {};        // none: whether it is fresh stays open
  std::optional<std::uint64_t> asked_s_ago = {};  // when the nonce was given out, if that is known
};

// What accepted evidence says.
struct AttestedPartition {
  Claims claims;
  LaunchFacts launch;
  HostIdentity host;
  TpmQuote quote;  // with the TPM's clock and its counters
};

struct EvidenceVerdict {
  Report report;  // every check, in the order of Check
  // Only if the report accepts.
  std::optional<AttestedPartition> partition;
};

// Makes every check of docs/attestation.md.
EvidenceVerdict verify_evidence(const Evidence& evidence, const EvidenceExpectation& expectation,
                                const CheckSwitches& switches = {});

}  // namespace bulkhead
