// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "crypto/hash.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace bulkhead {

enum class Curve : std::uint8_t { kP256, kP384 };
enum class SignatureScheme : std::uint8_t { kRsaPkcs1, kRsaPss, kEcdsa };

constexpr std::size_t coordinate_bytes(Curve curve) {
  return curve == Curve::kP256 ? 32 : 48;
}

// A signature and how it was made. Numbers are big-endian, and may have lost leading zeroes.
struct SignatureView {
  SignatureScheme scheme = SignatureScheme::kRsaPkcs1;
  HashAlgorithm hash = HashAlgorithm::kSha256;
  std::span<const std::byte> first;   // RSA's signature, or ECDSA's r
  std::span<const std::byte> second;  // ECDSA's s; empty for RSA
};

// Somebody's public key, for checking signatures.
class PublicKey {
 public:
  struct Rsa {
    std::span<const std::byte> modulus;  // big-endian
    std::uint32_t exponent = 65537;
  };
  struct Point {
    Curve curve = Curve::kP256;
    std::span<const std::byte> x;  // big-endian, at most coordinate_bytes()
    std::span<const std::byte> y;
  };

  // 2048 to 4096 bits, an odd exponent of at least 65537.
  static Result<PublicKey> create(const Rsa& rsa);
  // kMalformed for a point that is not on the curve.
  static Result<PublicKey> create(const Point& point);

  // Whether this key's owner signed the message: false for a scheme that is not this key's, too.
  // kUnsupported for SHA-1; another Error when that could not be found out.
  Result<bool> verify(const SignatureView& signature, std::span<const std::byte> message) const;
  // SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) in DER.
  Result<std::vector<std::byte>> info() const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  PublicKey(Key key, bool is_rsa) : key_(std::move(key)), is_rsa_(is_rsa) {}

  Key key_;
  bool is_rsa_;
};

}  // namespace bulkhead
