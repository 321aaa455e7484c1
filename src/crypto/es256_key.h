// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <span>

#include "base/result.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace bulkhead {

// A private key on P-256 that signs tokens.
class Es256Key {
 public:
  // JWS's form of a signature (RFC 7518, 3.4): r and s, 32 bytes each, big-endian.
  using Es256Signature = std::array<std::byte, 64>;

  // An unencrypted private key in PEM form. kMalformed for none, kUnsupported for another kind.
  static Result<Es256Key> from_pem(std::span<const std::byte> pem);

  // ECDSA with SHA-256.
  Result<Es256Signature> sign_es256(std::span<const std::byte> message) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  explicit Es256Key(Key key) : key_(std::move(key)) {}

  Key key_;
};

}  // namespace bulkhead
