// SPDX-License-Identifier: Apache-2.0
#include "crypto/public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <vector>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"
#include "crypto/openssl_hash.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMinRsaBytes = 256;
constexpr std::size_t kMaxRsaBytes = 512;
constexpr std::uint32_t kMinExponent = 65537;

struct Release {
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(OSSL_PARAM_BLD* builder) const { OSSL_PARAM_BLD_free(builder); }
  void operator()(OSSL_PARAM* parameters) const { OSSL_PARAM_free(parameters); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

Error refused() {
  return Error{Errc::kMalformed, 0, "not a public key"};
}

Owned<BIGNUM> number(std::span<const std::byte> big_endian) {
  return Owned<BIGNUM>(BN_bin2bn(openssl_bytes(big_endian), openssl_length(big_endian), nullptr));
}

// ECDSA's two numbers as OpenSSL wants them. Empty for numbers that no signature has.
std::vector<std::byte> as_der(const SignatureView& signature) {
  if (std::max(signature.first.size(), signature.second.size()) > kMaxRsaBytes) return {};
  const Owned<ECDSA_SIG> pair(ECDSA_SIG_new());
  Owned<BIGNUM> r = number(signature.first);
  Owned<BIGNUM> s = number(signature.second);
  if (pair == nullptr || r == nullptr || s == nullptr) return {};
  if (ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
  static_cast<void>(r.release());
  static_cast<void>(s.release());
  unsigned char* encoded = nullptr;
  const int length = i2d_ECDSA_SIG(pair.get(), &encoded);
  const Owned<unsigned char> owned(encoded);
  if (length <= 0) return {};
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(length)));
  return {bytes.begin(), bytes.end()};
}

bool set_padding(EVP_PKEY_CTX* context, SignatureScheme scheme) {
  if (scheme == SignatureScheme::kEcdsa) return true;
  if (scheme == SignatureScheme::kRsaPkcs1) {
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
  }
  // TPM 2.0 Part 1, B.7: the salt is as long as fits, or, where FIPS 186 is followed, as the
  // digest.
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) == 1;
}

// Null for parameters that make no key, or when the library fails.
EVP_PKEY* key_from(const char* type, int selection, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1) {
    return nullptr;
  }
  EVP_PKEY* key = nullptr;
  const bool made = EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) == 1;
  return made ? key : nullptr;
}

EVP_PKEY* make_curve(const char* name) {
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (builder == nullptr ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, name, 0) != 1) {
    return nullptr;
  }
  return key_from("EC", EVP_PKEY_KEY_PARAMETERS, builder.get());
}

// A key without a point, of which those with one are copies: to set a curve up takes several times
// as long as to copy it. Kept for the process's life, and never changed, so that threads may share
// it.
EVP_PKEY* curve_alone(Curve curve) {
  static EVP_PKEY* const kP256 = make_curve("prime256v1");
  static EVP_PKEY* const kP384 = make_curve("secp384r1");
  return curve == Curve::kP256 ? kP256 : kP384;
}

// The uncompressed form of SEC 1, 2.3.3.
std::vector<std::byte> uncompressed(const PublicKey::Point& point) {
  const std::size_t size = coordinate_bytes(point.curve);
  std::vector<std::byte> encoded(1 + 2 * size);
  encoded[0] = std::byte{4};
  std::ranges::copy(point.x, encoded.end() - static_cast<std::ptrdiff_t>(size + point.x.size()));
  std::ranges::copy(point.y, encoded.end() - static_cast<std::ptrdiff_t>(point.y.size()));
  return encoded;
}

}  // namespace

void PublicKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<PublicKey> PublicKey::create(const Rsa& rsa) {
  const ErrorQueueCleaner cleaner;
  const std::size_t size = rsa.modulus.size();
  if (size < kMinRsaBytes || size > kMaxRsaBytes) return refused();
  // An even modulus or exponent is no key, and costs OpenSSL's arithmetic dearly.
  const bool odd = (rsa.modulus.back() & std::byte{1}) != std::byte{0} && rsa.exponent % 2 == 1;
  const bool full = (rsa.modulus.front() & std::byte{0x80}) != std::byte{0};
  if (!odd || !full || rsa.exponent < kMinExponent) return refused();
  const Owned<BIGNUM> modulus = number(rsa.modulus);
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (modulus == nullptr || builder == nullptr) return openssl_failed();
  if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_uint32(builder.get(), OSSL_PKEY_PARAM_RSA_E, rsa.exponent) != 1) {
    return openssl_failed();
  }
  Key key(key_from("RSA", EVP_PKEY_PUBLIC_KEY, builder.get()));
  if (key == nullptr) return refused();
  return PublicKey(std::move(key), true);
}

Result<PublicKey> PublicKey::create(const Point& point) {
  const ErrorQueueCleaner cleaner;
  if (std::max(point.x.size(), point.y.size()) > coordinate_bytes(point.curve)) return refused();
  const std::vector<std::byte> encoded = uncompressed(point);
  EVP_PKEY* curve = curve_alone(point.curve);
  if (curve == nullptr) return openssl_failed();
  Key key(EVP_PKEY_dup(curve));
  if (key == nullptr) return openssl_failed();
  // Refuses a point that is not on the curve.
  if (EVP_PKEY_set1_encoded_public_key(
          key.get(), openssl_bytes(std::span<const std::byte>(encoded)), encoded.size()) != 1) {
    return refused();
  }
  return PublicKey(std::move(key), false);
}

Result<bool> PublicKey::verify(const SignatureView& signature,
                               std::span<const std::byte> message) const {
  const ErrorQueueCleaner cleaner;
  // With which signatures were forged.
  if (signature.hash == HashAlgorithm::kSha1) {
    return Error{Errc::kUnsupported, 0, "SHA-1 does not count in signatures"};
  }
  if (is_rsa_ == (signature.scheme == SignatureScheme::kEcdsa)) return false;
  std::vector<std::byte> der;
  if (!is_rsa_) der = as_der(signature);
  const std::span<const std::byte> encoded = is_rsa_ ? signature.first : std::span(der);
  const EVP_MD* hash = openssl_hash(signature.hash);
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;  // belongs to the other
  if (hash == nullptr || context == nullptr ||
      EVP_DigestVerifyInit(context.get(), &key_context, hash, nullptr, key_.get()) != 1) {
    return openssl_failed();
  }
  if (!set_padding(key_context, signature.scheme)) return openssl_failed();
  return EVP_DigestVerify(context.get(), openssl_bytes(encoded), encoded.size(),
                          openssl_bytes(message), message.size()) == 1;
}

Result<std::vector<std::byte>> PublicKey::info() const {
  unsigned char* encoded = nullptr;
  const int length = i2d_PUBKEY(key_.get(), &encoded);
  const Owned<unsigned char> owned(encoded);
  if (length <= 0) return openssl_failed();
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(length)));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

}  // namespace bulkhead
