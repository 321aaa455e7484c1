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

// eat_profile of its JSON text: an OID below the arc of docs/formats/certificates.md.
inline constexpr std::string_view kEvidenceProfile =
    "urn:oid:2.25.197643255959663459791078496310340433282.2.1";

// How long a part may be in that text.
struct ByteLimits {
  std::size_t least;
  std::size_t most;

  bool allow(std::size_t size_bytes) const { return least <= size_bytes && size_bytes <= most; }
};
inline constexpr ByteLimits kNonceLimits{8, 64};  // RFC 9711, 4.1
inline constexpr ByteLimits kQuoteLimits{1, 4096};
inline constexpr ByteLimits kKeyLimits{1, 1024};
inline constexpr ByteLimits kDigestLimits{32, 32};
inline constexpr ByteLimits kAnyLimits{1, kMaxEvidenceBytes};
inline constexpr std::size_t kMaxShownCertificates = 8;  // the verifier takes fewer, and says why

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
