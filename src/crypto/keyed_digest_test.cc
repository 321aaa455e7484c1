// SPDX-License-Identifier: Apache-2.0
#include "crypto/keyed_digest.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "crypto/openssl_bytes.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kDomain = 5;

TEST(KeyedDigest, IsTheSameForTheSameBytesInEveryContextOfTheKey) {
  const SecretBytes key = KeyedDigest::make_key().value();
  KeyedDigest one = KeyedDigest::create(key).value();
  KeyedDigest other = KeyedDigest::create(key).value();
  const std::vector<std::byte> bytes(4096, std::byte{7});
  const KeyedDigest::Value value = one.of(kDomain, bytes).value();
  EXPECT_EQ(one.of(kDomain, bytes).value(), value);
  EXPECT_EQ(other.of(kDomain, bytes).value(), value);
}

TEST(KeyedDigest, DiffersByEveryBit) {
  const SecretBytes key = KeyedDigest::make_key().value();
  KeyedDigest digest = KeyedDigest::create(key).value();
  std::vector<std::byte> bytes(4096);
  std::set<KeyedDigest::Value> seen = {digest.of(kDomain, bytes).value()};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte flip{static_cast<std::uint8_t>(1 << bit % 8)};
    bytes[bit / 8] ^= flip;
    EXPECT_TRUE(seen.insert(digest.of(kDomain, bytes).value()).second) << bit;
    bytes[bit / 8] ^= flip;
  }
}

TEST(KeyedDigest, DiffersByLengthDomainAndKey) {
  const SecretBytes key = KeyedDigest::make_key().value();
  const SecretBytes other_key = KeyedDigest::make_key().value();
  KeyedDigest digest = KeyedDigest::create(key).value();
  const std::vector<std::byte> bytes(64);
  const std::span<const std::byte> all(bytes);
  std::set<KeyedDigest::Value> seen = {digest.of(kDomain, all).value()};
  for (std::size_t size = 0; size < all.size(); ++size) {
    EXPECT_TRUE(seen.insert(digest.of(kDomain, all.first(size)).value()).second) << size;
  }
  for (std::uint64_t domain = 6; domain < 500; ++domain) {
    EXPECT_TRUE(seen.insert(digest.of(domain, all).value()).second) << domain;
  }
  KeyedDigest other = KeyedDigest::create(other_key).value();
  EXPECT_TRUE(seen.insert(other.of(kDomain, all).value()).second);
}

// Poly1305's own result would tell of its key, and then of the bytes: what is given out is
// encrypted.
TEST(KeyedDigest, IsPoly1305UnderAes) {
  const SecretBytes key = KeyedDigest::make_key().value();
  const std::span<const std::byte> bytes = key.bytes();
  const std::array<std::byte, 100> text{std::byte{1}};
  std::array<unsigned char, 16> hash{};
  ASSERT_NE(
      EVP_Q_mac(nullptr, "POLY1305", nullptr, nullptr, nullptr, openssl_bytes(bytes.first(32)), 32,
                openssl_bytes(std::span(text)), text.size(), hash.data(), hash.size(), nullptr),
      nullptr);
  hash[0] ^= kDomain;
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(),
                                                                               EVP_CIPHER_CTX_free);
  int length = 0;
  ASSERT_EQ(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_ecb(), nullptr,
                               openssl_bytes(bytes.subspan(32)), nullptr),
            1);
  ASSERT_EQ(EVP_EncryptUpdate(cipher.get(), hash.data(), &length, hash.data(), 16), 1);
  const KeyedDigest::Value value = KeyedDigest::create(key).value().of(kDomain, text).value();
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(hash)), value));
}

TEST(KeyedDigest, RefusesAKeyOfAnotherLength) {
  const SecretBytes key = SecretBytes::random(32).value();
  EXPECT_EQ(KeyedDigest::create(key).error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace bulkhead
