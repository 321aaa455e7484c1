// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>

#include "base/result.h"
#include "crypto/digest.h"
#include "crypto/secret_bytes.h"

namespace bulkhead {

struct HkdfInput {
  std::span<const std::byte> key;  // input keying material
  std::span<const std::byte> salt = {};
  std::span<const std::byte> info = {};
};

// HKDF-SHA-256 (RFC 5869), extract and expand. At most 255 * 32 bytes.
Result<SecretBytes> hkdf_sha256(const HkdfInput& input, std::size_t size_bytes);

// HMAC-SHA-256 (RFC 2104) of the parts, one after the other.
Result<Sha256Digest> hmac_sha256(std::span<const std::byte> key,
                                 std::initializer_list<std::span<const std::byte>> parts);

}  // namespace bulkhead
