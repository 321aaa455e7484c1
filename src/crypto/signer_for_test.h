// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <memory>
#include <vector>

#include "base/check.h"
#include "crypto/openssl_bytes.h"
#include "crypto/public_key.h"

namespace bulkhead {

// Key pairs, and signatures in the form that a TPM gives them.
class SignerForTest {
 public:
  struct Signature {
    std::vector<std::byte> first;
    std::vector<std::byte> second;
  };

  static SignerForTest rsa(std::size_t bits) { return SignerForTest(EVP_RSA_gen(bits)); }
  static SignerForTest ec(Curve curve) {
    return SignerForTest(EVP_EC_gen(curve == Curve::kP256 ? "P-256" : "P-384"));
  }

  // A number of the public key, by OpenSSL's name for it.
  std::vector<std::byte> number(const char* name) const {
    BIGNUM* value = nullptr;
    CHECK(EVP_PKEY_get_bn_param(key_.get(), name, &value) == 1);
    std::vector<std::byte> bytes = as_bytes(value);
    BN_free(value);
    return bytes;
  }
  std::vector<std::byte> modulus() const { return number(OSSL_PKEY_PARAM_RSA_N); }
  std::vector<std::byte> x() const { return number(OSSL_PKEY_PARAM_EC_PUB_X); }
  std::vector<std::byte> y() const { return number(OSSL_PKEY_PARAM_EC_PUB_Y); }

  Signature sign(SignatureScheme scheme, HashAlgorithm hash,
                 std::span<const std::byte> message) const {
    const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* key = nullptr;
    const EVP_MD* function = hash == HashAlgorithm::kSha256 ? EVP_sha256() : EVP_sha384();
    CHECK(EVP_DigestSignInit(context.get(), &key, function, nullptr, key_.get()) == 1);
    if (scheme == SignatureScheme::kRsaPss) {
      CHECK(EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1);
    }
    std::vector<std::byte> bytes(1024);
    std::size_t size = bytes.size();
    CHECK(EVP_DigestSign(context.get(), openssl_bytes(std::span(bytes)), &size,
                         openssl_bytes(message), message.size()) == 1);
    bytes.resize(size);
    return scheme == SignatureScheme::kEcdsa ? split(bytes) : Signature{bytes, {}};
  }

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };

  explicit SignerForTest(EVP_PKEY* key) : key_(key) { CHECK(key != nullptr); }

  static std::vector<std::byte> as_bytes(const BIGNUM* number) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, openssl_bytes(std::span(bytes)));
    return bytes;
  }
  static Signature split(std::span<const std::byte> der) {
    const unsigned char* position = openssl_bytes(der);
    ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &position, openssl_length(der));
    CHECK(pair != nullptr);
    Signature signature{as_bytes(ECDSA_SIG_get0_r(pair)), as_bytes(ECDSA_SIG_get0_s(pair))};
    ECDSA_SIG_free(pair);
    return signature;
  }

  std::unique_ptr<EVP_PKEY, Free> key_;
};

}  // namespace bulkhead
