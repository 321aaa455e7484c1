// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>

#include "attest/report.h"
#include "attest/tpm_attest.h"
#include "attest/tpm_public.h"
#include "crypto/digest.h"

namespace bulkhead {

// How a quote may be signed.
struct QuoteAlgorithm {
  TpmAlg scheme = TpmAlg::kEcdsa;
  TpmAlg hash = TpmAlg::kSha256;

  bool operator==(const QuoteAlgorithm&) const = default;
};

std::string to_string(QuoteAlgorithm algorithm);  // "ecdsa-sha256"
// All that can be verified: RSASSA, RSAPSS and ECDSA, each with SHA-256 and SHA-384.
std::span<const QuoteAlgorithm> quote_algorithms();

// The challenge that a quote must answer.
struct Challenge {
  Bytes nonce;
  // SHA-256 of the requester's ephemeral public key, as the evidence's format encodes it. Without
  // one the quote is over the nonce alone, and vouches for nobody who shows it.
  std::optional<Sha256Digest> requester_key;
};

// What goes into a quote's extraData: the nonce itself, or SHA-256(nonce || SHA-256(key)). The last
// part has a fixed size, so that both can be cut in one way only.
Result<Bytes> qualifying_data(const Challenge& challenge);

// What somebody shows.
struct QuoteEvidence {
  std::span<const std::byte> attest;     // TPMS_ATTEST
  std::span<const std::byte> signature;  // TPMT_SIGNATURE
  const TpmPublic& key;  // the attestation key, whose certificate is somebody else's to check
  const PcrValues& pcrs;
};

// What it is held against.
struct QuoteExpectation {
  std::optional<Challenge> challenge;           // none: whether the quote is fresh stays unknown
  std::optional<Bytes> parent_name;             // qualified name of the key's parent, if known
  PcrSelections pcrs;                           // at least these
  std::vector<QuoteAlgorithm> algorithms = {};  // only these; empty: quote_algorithms()
};

struct QuoteVerdict {
  Report report;
  // Only if the report accepts: the quote, and the PCR values that it vouches for, no others.
  std::optional<TpmQuote> quote;
  PcrValues pcrs;
};

// Makes every check that can be made, also after one failed: all of them are in the report, in the
// order of Check.
QuoteVerdict verify_quote(const QuoteEvidence& evidence, const QuoteExpectation& expectation,
                          const CheckSwitches& switches = {});

}  // namespace bulkhead
