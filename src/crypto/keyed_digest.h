// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "crypto/secret_bytes.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX
struct evp_mac_ctx_st;     // OpenSSL's EVP_MAC_CTX

namespace bulkhead {

// Tells under a secret key whether bytes are the same as before, at about the speed at which they
// can be read: Poly1305 (RFC 8439, 2.5) as a universal hash, whose result is then encrypted with
// AES-256. Without the key a digest says nothing of the bytes (a universal hash, encrypted, is a
// pseudorandom function: Carter and Wegman 1981, Shoup 1996). Different bytes, chosen by somebody
// who does not know the key, have the same digest with a chance of at most size / 2^106. One thread
// at a time.
class KeyedDigest {
 public:
  using Value = std::array<std::byte, 16>;
  static constexpr std::size_t kHashKeyBytes = 16;
  static constexpr std::size_t kKeyBytes = 64;

  // Fresh and random. Never used for anything else: Poly1305's other use of a key is once.
  static Result<SecretBytes> make_key();
  // `key`, from make_key(), outlives it.
  static Result<KeyedDigest> create(const SecretBytes& key);

  // `domain`: what the bytes are; digests of two domains differ even for the same bytes.
  Result<Value> of(std::uint64_t domain, std::span<const std::byte> bytes);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
    void operator()(evp_mac_ctx_st* context) const;
  };
  using Hash = std::unique_ptr<evp_mac_ctx_st, Free>;
  using Cipher = std::unique_ptr<evp_cipher_ctx_st, Free>;
  KeyedDigest(const SecretBytes& key, Hash hash, Cipher cipher)
      : key_(&key), hash_(std::move(hash)), cipher_(std::move(cipher)) {}

  const SecretBytes* key_;
  Hash hash_;
  Cipher cipher_;
};

}  // namespace bulkhead
