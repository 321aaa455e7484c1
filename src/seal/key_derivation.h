// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "crypto/secret_bytes.h"
#include "seal/identity.h"

namespace bulkhead {

// What a derived key may do. Different roles never share a key.
enum class KeyRole : std::uint8_t {
  kPages = 1,       // AES-256-GCM, one key per session
  kSuperblock = 2,  // HMAC-SHA-256
  kAnchor = 3,      // HMAC-SHA-256
  kCheck = 4,       // not a key: a public value that tells a wrong partition key
};

inline constexpr std::size_t kPartitionKeyBytes = 32;

// 32 bytes: HKDF-SHA-256(partition key, no salt, "bulkhead/sealed/v1" || role || purpose || store
// || extra).
Result<SecretBytes> derive_seal_key(const SecretBytes& partition_key, const SealScope& scope,
                                    KeyRole role, std::span<const std::byte> extra = {});

}  // namespace bulkhead
