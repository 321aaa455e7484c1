// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "attest/tpm_public.h"
#include "crypto/digest.h"

namespace bulkhead::hostca {

// What a TPM shows of itself.
struct Endorsement {
  TpmPublic key;
  std::vector<Bytes> certificates;  // the key's, in DER, then what helps to reach a root
};

// Whether the TPM's maker, or whoever else is in `trusted`, certified the key: its certificate has
// this very key, and leads to one of the trusted ones, all of them valid at that time. Those need
// not be roots.
Result<void> check_endorsement(const Endorsement& endorsement, const std::vector<Bytes>& trusted,
                               std::int64_t now);

// The key's identity as policies and certificates name it: SHA-256 of its TPMT_PUBLIC.
Result<Sha256Digest> endorsement_fingerprint(const TpmPublic& key);

}  // namespace bulkhead::hostca
