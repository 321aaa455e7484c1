// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "crypto/hash.h"

namespace bulkhead {

// TPM_ALG_ID, TPM 2.0 Part 2, Table 9: those that mean something here. A TPM's structure may hold
// any other number, too.
enum class TpmAlg : std::uint16_t {
  kRsa = 0x0001,
  kSha1 = 0x0004,
  kAes = 0x0006,
  kSha256 = 0x000b,
  kSha384 = 0x000c,
  kSha512 = 0x000d,
  kNull = 0x0010,
  kRsassa = 0x0014,
  kRsapss = 0x0016,
  kEcdsa = 0x0018,
  kEcc = 0x0023,
  kCfb = 0x0043,
};

// "sha256", or "unknown" for a number that is not above.
const char* to_string(TpmAlg algorithm);

TpmAlg to_tpm(HashAlgorithm algorithm);
// Nothing for what is no hash that we compute.
std::optional<HashAlgorithm> from_tpm(TpmAlg algorithm);

// The hash functions that may sign and name; nothing for SHA-1 and what is not known here.
std::optional<HashAlgorithm> strong_hash(TpmAlg algorithm);

// The digest's size of any hash function above; 0 for what is none.
std::size_t tpm_digest_bytes(TpmAlg algorithm);

}  // namespace bulkhead
