// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "crypto/secret_bytes.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace bulkhead {

// A private key for ECDSA on P-256 with SHA-256.
class SigningKey {
 public:
  static Result<SigningKey> generate();
  // PEM without a password; kUnsupported for a key of another kind.
  static Result<SigningKey> from_pem(std::span<const std::byte> pem);

  Result<SecretBytes> pem() const;
  // SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) in DER.
  Result<std::vector<std::byte>> public_info() const;
  // ECDSA-Sig-Value (RFC 3279, 2.2.3) in DER.
  Result<std::vector<std::byte>> sign(std::span<const std::byte> message) const;
  // The same in JWS's form (RFC 7518, 3.4): r and s, 32 bytes each, big-endian.
  using Es256Signature = std::array<std::byte, 64>;
  Result<Es256Signature> sign_es256(std::span<const std::byte> message) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  explicit SigningKey(Key key) : key_(std::move(key)) {}

  Key key_;
};

}  // namespace bulkhead
