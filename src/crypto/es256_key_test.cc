// SPDX-License-Identifier: Apache-2.0
#include "crypto/es256_key.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <string>

#include "crypto/openssl_bytes.h"
#include "crypto/public_key.h"

namespace bulkhead {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string pem_of(EVP_PKEY* key, const char* password = nullptr) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, password == nullptr ? nullptr : EVP_aes_128_cbc(), nullptr, 0,
                           nullptr, const_cast<char*>(password));
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string pem(text, static_cast<std::size_t>(size));
  BIO_free(bio);
  return pem;
}

struct KeyPair {
  explicit KeyPair(EVP_PKEY* made) : key(made) {}
  ~KeyPair() { EVP_PKEY_free(key); }
  KeyPair(const KeyPair&) = delete;
  KeyPair& operator=(const KeyPair&) = delete;

  EVP_PKEY* key;
};

PublicKey public_half(EVP_PKEY* key) {
  std::array<std::byte, 65> point{};
  std::size_t size = 0;
  EVP_PKEY_get_octet_string_param(key, "encoded-pub-key",
                                  openssl_bytes(std::span<std::byte>(point)), point.size(), &size);
  return PublicKey::create(PublicKey::Point{.curve = Curve::kP256,
                                            .x = std::span(point).subspan(1, 32),
                                            .y = std::span(point).subspan(33, 32)})
      .value();
}

TEST(Es256Key, SignsAsJwsWantsIt) {
  const KeyPair pair(EVP_EC_gen("P-256"));
  const Es256Key key = Es256Key::from_pem(bytes_of(pem_of(pair.key))).value();
  const PublicKey verifier = public_half(pair.key);
  const std::string message = "header.payload";
  // Often enough that numbers with leading zeros come by.
  for (int i = 0; i < 300; ++i) {
    const auto signature = key.sign_es256(bytes_of(message)).value();
    const auto view = SignatureView{.scheme = SignatureScheme::kEcdsa,
                                    .hash = HashAlgorithm::kSha256,
                                    .first = std::span(signature).first(32),
                                    .second = std::span(signature).last(32)};
    ASSERT_TRUE(verifier.verify(view, bytes_of(message)).value());
    ASSERT_FALSE(verifier.verify(view, bytes_of(message + "x")).value());
  }
}

TEST(Es256Key, RefusesOtherKeys) {
  const KeyPair p256(EVP_EC_gen("P-256"));
  const KeyPair p384(EVP_EC_gen("P-384"));
  const KeyPair rsa(EVP_RSA_gen(2048));
  const auto error = [](const std::string& pem) {
    const auto key = Es256Key::from_pem(bytes_of(pem));
    return key ? "" : key.error().what;
  };
  EXPECT_STREQ(error(pem_of(p384.key)), "not a key on P-256");
  EXPECT_STREQ(error(pem_of(rsa.key)), "not a key on P-256");
  const char* no_key = "not an unencrypted private key in PEM";
  EXPECT_STREQ(error(pem_of(p256.key, "secret")), no_key);
  EXPECT_STREQ(error(""), no_key);
  const std::string good = pem_of(p256.key);
  EXPECT_STREQ(error(good.substr(0, good.size() / 2)), no_key);
  EXPECT_STREQ(error(good), "");
}

}  // namespace
}  // namespace bulkhead
