// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>

#include "broker/requester_key.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::agent {

// The agent's key pair for one secret: what the broker releases is encrypted to it.
class EphemeralKey {
 public:
  static Result<EphemeralKey> generate();

  // The public half as the broker wants it, and as it names it.
  broker::Json jwk() const;
  const Sha256Digest& thumbprint() const { return public_half_.thumbprint(); }

  // The secret in a JWE (RFC 7516, 7.2.2: flattened JSON; ECDH-ES+A256KW, A256GCM). kMalformed for
  // what is none, or is not encrypted to this key, or was changed.
  Result<SecretBytes> open(std::string_view jwe) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  EphemeralKey(Key key, broker::RequesterKey public_half)
      : key_(std::move(key)), public_half_(std::move(public_half)) {}

  Key key_;
  broker::RequesterKey public_half_;
};

}  // namespace bulkhead::agent
