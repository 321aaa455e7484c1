// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "crypto/hash.h"

namespace bulkhead {

using Bytes = std::vector<std::byte>;

// TPM_ALG_ID, TPM 2.0 Part 2, Table 9: those that mean something here.
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

// The hash functions that may sign and name; nothing for SHA-1 and what is not known here.
std::optional<HashAlgorithm> hash_algorithm(TpmAlg algorithm);

// The digest's size of any hash function above; 0 for what is none.
std::size_t tpm_digest_bytes(TpmAlg algorithm);

// The content of a TPM2B_*: a size of 16 bits, and as many bytes. kMalformed beyond `max_bytes`.
Result<std::span<const std::byte>> read_2b(ByteReader& reader, std::size_t max_bytes);
Result<TpmAlg> read_algorithm(ByteReader& reader);
// kMalformed if bytes are left over.
Result<void> expect_end(const ByteReader& reader);

inline Bytes copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace bulkhead
