// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "broker/bytes.h"
#include "broker/strict_json.h"
#include "crypto/digest.h"

struct evp_pkey_st;        // OpenSSL's EVP_PKEY
struct ossl_param_bld_st;  // OpenSSL's OSSL_PARAM_BLD

namespace bulkhead::broker {

// The public half of the ephemeral key pair of whoever asks: what is released is encrypted to it.
class RequesterKey {
 public:
  enum class Kind : std::uint8_t { kEcP256, kRsa };

  // From a JWK (RFC 7517): P-256 for ECDH-ES+A256KW, or RSA of 2048 to 4096 bits for RSA-OAEP-256.
  static Result<RequesterKey> parse(const Json& jwk);

  Kind kind() const { return kind_; }
  // "ECDH-ES+A256KW", "RSA-OAEP-256"
  const char* algorithm() const;
  // SHA-256 of the members that make the key, in their one order: RFC 7638.
  const Sha256Digest& thumbprint() const { return thumbprint_; }
  const Json& jwk() const { return jwk_; }
  evp_pkey_st* handle() const { return key_.get(); }

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  RequesterKey(Kind kind, Key key, Json jwk) : kind_(kind), key_(std::move(key)), jwk_(jwk) {}
  static Result<RequesterKey> parse_ec(const Json& jwk);
  static Result<RequesterKey> parse_rsa(const Json& jwk);
  static Result<Key> build(const char* type, ossl_param_bld_st* builder);

  Kind kind_;
  Key key_;
  Json jwk_;  // only the members that make the key
  Sha256Digest thumbprint_{};
};

// The public half of a key on P-256 as a JWK.
Result<Json> p256_jwk(evp_pkey_st* key);

}  // namespace bulkhead::broker
