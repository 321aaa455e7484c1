// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "broker/bytes.h"
#include "crypto/digest.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::broker {

// The keys of all tenants, in a PKCS#11 token that does not give them away: each tenant has a key
// that wraps the keys of its resources, and one that signs its attestation results. Thread-safe.
class KeyToken {
 public:
  virtual ~KeyToken() = default;

  // Both keys of a tenant; nothing happens if they are there.
  virtual Result<void> make_keys(const std::string& tenant) = 0;
  // AES key wrap with padding (RFC 5649). kNotFound if the tenant has no keys.
  virtual Result<Bytes> wrap(const std::string& tenant, const SecretBytes& key) = 0;
  // kMalformed for what this tenant's key has not wrapped.
  virtual Result<SecretBytes> unwrap(const std::string& tenant,
                                     std::span<const std::byte> wrapped) = 0;
  // ECDSA on P-256: r and s, 32 bytes each.
  virtual Result<Bytes> sign(const std::string& tenant, const Sha256Digest& digest) = 0;
  // Of the signing key: x and y, 32 bytes each.
  virtual Result<Bytes> public_point(const std::string& tenant) = 0;
};

inline constexpr std::size_t kResourceKeyBytes = 32;
inline constexpr std::size_t kPointBytes = 64;
inline constexpr std::size_t kEcdsaBytes = 64;

}  // namespace bulkhead::broker
