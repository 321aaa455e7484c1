// SPDX-License-Identifier: Apache-2.0
#include "crypto/signing_key.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <string>

#include "crypto/hash.h"
#include "crypto/openssl_bytes.h"
#include "crypto/public_key.h"
#include "crypto/signer_for_test.h"

namespace bulkhead {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
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

TEST(SigningKey, SignsAsJwsWantsIt) {
  const KeyPair pair(EVP_EC_gen("P-256"));
  const SigningKey key = SigningKey::from_pem(as_bytes(pem_of(pair.key))).value();
  const PublicKey verifier = public_half(pair.key);
  const std::string message = "header.payload";
  // Often enough that numbers with leading zeros come by.
  for (int i = 0; i < 300; ++i) {
    const auto signature = key.sign_es256(as_bytes(message)).value();
    const auto view = SignatureView{.scheme = SignatureScheme::kEcdsa,
                                    .hash = HashAlgorithm::kSha256,
                                    .first = std::span(signature).first(32),
                                    .second = std::span(signature).last(32)};
    ASSERT_TRUE(verifier.verify(view, as_bytes(message)).value());
    ASSERT_FALSE(verifier.verify(view, as_bytes(message + "x")).value());
  }
}

TEST(SigningKey, IsTheSameAfterItsPem) {
  const SigningKey key = SigningKey::generate().value();
  const SecretBytes pem = key.pem().value();
  const SigningKey again = SigningKey::from_pem(pem.bytes()).value();
  EXPECT_EQ(again.public_info().value(), key.public_info().value());
  EXPECT_NE(SigningKey::generate().value().public_info().value(), key.public_info().value());
}

TEST(SigningKey, TakesNothingElse) {
  const KeyPair p256(EVP_EC_gen("P-256"));
  const KeyPair p384(EVP_EC_gen("P-384"));
  const KeyPair rsa(EVP_RSA_gen(2048));
  const auto code = [](const std::string& pem) {
    return SigningKey::from_pem(as_bytes(pem)).error().code;
  };
  EXPECT_EQ(code(pem_of(p384.key)), Errc::kUnsupported);
  EXPECT_EQ(code(pem_of(rsa.key)), Errc::kUnsupported);
  EXPECT_EQ(code(pem_of(p256.key, "secret")), Errc::kMalformed);
  EXPECT_EQ(code(""), Errc::kMalformed);
  const std::string good = pem_of(p256.key);
  EXPECT_EQ(code(good.substr(0, good.size() / 2)), Errc::kMalformed);
  EXPECT_TRUE(SigningKey::from_pem(as_bytes(good)));
}

TEST(PublicKey, TellsItsInfo) {
  const SignerForTest signer = SignerForTest::ec(Curve::kP256);
  const std::vector<std::byte> x = signer.x();
  const std::vector<std::byte> y = signer.y();
  const PublicKey key = PublicKey::create(PublicKey::Point{Curve::kP256, x, y}).value();
  const std::vector<std::byte> info = key.info().value();
  ASSERT_EQ(info.size(), 91U);  // RFC 5480: two object identifiers and an uncompressed point
  EXPECT_TRUE(std::equal(y.rbegin(), y.rend(), info.rbegin()));
}

}  // namespace
}  // namespace bulkhead
