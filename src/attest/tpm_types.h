// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "crypto/hash.h"
#include "measure/tpm_alg.h"

namespace bulkhead {

using Bytes = std::vector<std::byte>;

// The hash functions that may sign and name; nothing for SHA-1 and what is not known here.
std::optional<HashAlgorithm> hash_algorithm(TpmAlg algorithm);

// The content of a TPM2B_*: a size of 16 bits, and as many bytes. kMalformed beyond `max_bytes`.
Result<std::span<const std::byte>> read_2b(ByteReader& reader, std::size_t max_bytes);
Result<TpmAlg> read_algorithm(ByteReader& reader);
// kMalformed if bytes are left over.
Result<void> expect_end(const ByteReader& reader);

inline Bytes copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace bulkhead
