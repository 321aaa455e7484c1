// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "attest/tpm_public.h"
#include "crypto/digest.h"
#include "measure/pcr_values.h"

namespace bulkhead {

inline constexpr std::size_t kMaxEvidenceBytes = 1024 * 1024;  // of its JSON text

// What a partition shows: docs/formats/evidence.md. Nothing of this is a claim by itself. What it
// proves is proved by the quote, and by who certified the key that made it.
struct Evidence {
  Bytes nonce;                                // that it answers, as far as it says itself
  std::optional<Sha256Digest> requester_key;  // whose key it was made for; in the quote, too
  Bytes attest;                               // TPMS_ATTEST
  Bytes signature;                            // TPMT_SIGNATURE
  TpmPublic key;                              // the attestation key
  PcrValues pcrs;
  Bytes event_log;
  std::vector<Bytes> certificates;  // DER, from the attestation key's up

  bool operator==(const Evidence& other) const = default;
};

}  // namespace bulkhead
