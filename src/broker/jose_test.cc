// SPDX-License-Identifier: Apache-2.0
// Key agreement, wrapping and tokens, by vectors of the RFCs and by the stock tool `jose`.
#include "broker/jose.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/base64.h"
#include "broker/jwe.h"
#include "broker/jwt.h"
#include "broker/testing/shell.h"
#include "crypto/hex_for_test.h"
#include "crypto/signer_for_test.h"

namespace bulkhead::broker {
namespace {

// RFC 7518, appendix C.
TEST(Jose, DerivesTheKeyOfTheRfc) {
  const unsigned char agreed[] = {158, 86,  217, 29,  129, 113, 53,  211, 114, 131, 66,
                                  131, 191, 132, 38,  156, 251, 49,  110, 163, 218, 128,
                                  106, 72,  246, 218, 167, 121, 140, 254, 144, 196};
  const auto key =
      concat_kdf(std::as_bytes(std::span(agreed)),
                 {.algorithm = "A128GCM", .producer = "Alice", .consumer = "Bob", .key_bytes = 16});
  ASSERT_TRUE(key);
  EXPECT_EQ(encode_base64(Base64::kUrl, key->bytes()), "VqqN6vgjbSBcIijNcacQGg");
}

// RFC 3394, 4.6.
TEST(Jose, WrapsAsTheRfc) {
  const auto wrapping_key = SecretBytes::copy_of(
      from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
  const auto key = SecretBytes::copy_of(
      from_hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"));
  const auto wrapped = aes_key_wrap(*wrapping_key, *key);
  ASSERT_TRUE(wrapped);
  EXPECT_EQ(to_hex(*wrapped),
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  const auto unwrapped = aes_key_unwrap(*wrapping_key, *wrapped);
  ASSERT_TRUE(unwrapped);
  EXPECT_TRUE(constant_time_equal(unwrapped->bytes(), key->bytes()));
}

TEST(Jose, UnwrapsNothingElse) {
  const auto wrapping_key = SecretBytes::random(32);
  const auto key = SecretBytes::random(32);
  const Bytes wrapped = *aes_key_wrap(*wrapping_key, *key);
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    Bytes changed = wrapped;
    changed[i] ^= std::byte{1};
    EXPECT_EQ(aes_key_unwrap(*wrapping_key, changed).error().code, Errc::kMalformed) << i;
    EXPECT_FALSE(aes_key_unwrap(*wrapping_key, std::span(wrapped).first(i))) << i;
  }
  EXPECT_FALSE(aes_key_unwrap(*SecretBytes::random(32), wrapped));
}

// RFC 7638, 3.1.
TEST(Jose, ThumbprintIsThatOfTheRfc) {
  const Json jwk = {{"kty", "RSA"},
                    {"n",
                     "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuh"
                     "DR1L6tSoc_BJECP"
                     "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-"
                     "65YGjQR0_FDW2QvzqY"
                     "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
                     "bFTWhAI4vMQFh6WeZu0f"
                     "M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"},
                    {"e", "AQAB"},
                    {"kid", "2011-04-29"}};
  const auto key = RequesterKey::parse(jwk);
  ASSERT_TRUE(key) << key.error().what;
  EXPECT_EQ(encode_base64(Base64::kUrl, key->thumbprint()),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

TEST(Jose, WhatIsNoPublicKeyIsRefused) {
  const std::string good = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
  const std::string y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
  const Json key = {{"kty", "EC"}, {"crv", "P-256"}, {"x", good}, {"y", y}};
  EXPECT_TRUE(RequesterKey::parse(key));
  const auto refused = [&key](const char* name, const Json& value) {
    Json changed = key;
    changed[name] = value;
    return !RequesterKey::parse(changed).has_value();
  };
  EXPECT_TRUE(refused("x", y)) << "not on the curve";
  EXPECT_TRUE(refused("x", good.substr(0, 42)));
  EXPECT_TRUE(refused("y", ""));
  EXPECT_TRUE(refused("crv", "P-384"));
  EXPECT_TRUE(refused("kty", "oct"));
  EXPECT_TRUE(refused("alg", "ECDH-ES"));
  EXPECT_TRUE(refused("d", good)) << "a private key";
  EXPECT_TRUE(refused("x", 7));
  EXPECT_FALSE(RequesterKey::parse(Json::array()));
  const std::string modulus(342, 'A');
  for (const char* exponent : {"Aw", "AQAB"}) {
    EXPECT_FALSE(RequesterKey::parse({{"kty", "RSA"}, {"n", modulus}, {"e", exponent}}));
  }
}

// The stock tool makes the key, and opens what we have encrypted to it.
class StockJose : public testing::Test {
 protected:
  void SetUp() override {
    if (!have("jose")) GTEST_SKIP() << "no jose";
  }
  void open_with_jose(const std::string& kind) {
    const std::string key_file = dir_ / "key.jwk";
    ASSERT_EQ(shell("jose jwk gen -i '" + kind + "' -o '" + key_file + "'").status, 0);
    const std::string text = shell("jose jwk pub -i '" + key_file + "'").out;
    Json jwk = *parse_json(text, 4096);
    jwk.erase("key_ops");
    const auto key = RequesterKey::parse(jwk);
    ASSERT_TRUE(key) << key.error().what << text;
    const auto secret = SecretBytes::copy_of(bytes_of("a secret of any length"));
    const auto jwe = encrypt_to(*key, *secret);
    ASSERT_TRUE(jwe);
    std::ofstream(dir_ / "message.jwe") << *jwe;
    const auto opened =
        shell("jose jwe dec -i '" + (dir_ / "message.jwe") + "' -k '" + key_file + "'");
    EXPECT_EQ(opened.status, 0);
    EXPECT_EQ(opened.out, "a secret of any length");
  }

  TempDir dir_;
};

TEST_F(StockJose, OpensWhatIsEncryptedToAnEcKey) {
  open_with_jose(R"({"kty":"EC","crv":"P-256"})");
}
// jose has no RSA-OAEP-256; openssl has.
TEST(StockOpenssl, OpensTheKeyThatIsEncryptedToAnRsaKey) {
  if (!have("openssl")) GTEST_SKIP() << "no openssl";
  const TempDir dir;
  const std::string pem = "'" + (dir / "key.pem") + "'";
  ASSERT_EQ(shell("openssl genrsa -out " + pem + " 2048 2>/dev/null").status, 0);
  std::string modulus = shell("openssl rsa -in " + pem + " -noout -modulus").out;
  modulus = modulus.substr(modulus.find('=') + 1, 512);
  const auto key = RequesterKey::parse({{"kty", "RSA"},
                                        {"alg", "RSA-OAEP-256"},
                                        {"n", encode_base64(Base64::kUrl, from_hex(modulus))},
                                        {"e", "AQAB"}});
  ASSERT_TRUE(key) << key.error().what;
  const Json jwe = *parse_json(*encrypt_to(*key, *SecretBytes::copy_of(bytes_of("secret"))), 4096);
  const Bytes wrapped = *decode_base64(Base64::kUrl, jwe.at("encrypted_key").get<std::string>());
  std::ofstream(dir / "wrapped") << text_of(wrapped);
  const ShellResult opened = shell(
      "openssl pkeyutl -decrypt -inkey " + pem + " -in '" + (dir / "wrapped") +
      "' -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256");
  EXPECT_EQ(opened.status, 0);
  EXPECT_EQ(opened.out.size(), 32u);
}

class Tokens : public testing::Test {
 protected:
  std::string make(const Json& payload, const std::string& part = "") {
    const std::string text = part.empty() ? jwt_signed_part(payload, "id") : part;
    const auto signature =
        signer_.sign(SignatureScheme::kEcdsa, HashAlgorithm::kSha256, bytes_of(text));
    Bytes bytes(64);
    std::ranges::copy(signature.first, bytes.begin() + (32 - std::ssize(signature.first)));
    std::ranges::copy(signature.second, bytes.begin() + (64 - std::ssize(signature.second)));
    return assemble_jwt(text, bytes);
  }
  bool accepts(const std::string& text) {
    const auto jwt = parse_jwt(text);
    if (!jwt) return false;
    const auto good = is_signed_by(*jwt, *key_);
    return good && *good;
  }

  SignerForTest signer_ = SignerForTest::ec(Curve::kP256);
  std::vector<std::byte> x_ = signer_.x();
  std::vector<std::byte> y_ = signer_.y();
  Result<PublicKey> key_ =
      PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x_, .y = y_});
};

TEST_F(Tokens, AreGoodOnlyWhole) {
  const std::string good = make({{"jti", "abc"}});
  EXPECT_TRUE(accepts(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(accepts(changed)) << i;
    EXPECT_FALSE(accepts(good.substr(0, i))) << i;
  }
  EXPECT_FALSE(accepts(good + "A"));
  EXPECT_FALSE(accepts(good + ".e30"));
}

TEST_F(Tokens, TheAlgorithmIsNotTheTokensToChoose) {
  const auto part = [](const char* header) {
    return encode_base64(Base64::kUrl, bytes_of(header)) + ".e30";
  };
  EXPECT_TRUE(accepts(make({}, part(R"({"alg":"ES256"})"))));
  for (const char* header : {R"({"alg":"none"})", R"({"alg":"HS256"})", R"({"alg":"es256"})", "{}",
                             R"({"alg":"ES256","crit":["x"]})", R"({"alg":"ES256","jwk":{}})"}) {
    EXPECT_FALSE(accepts(make({}, part(header)))) << header;
  }
}

}  // namespace
}  // namespace bulkhead::broker
