// SPDX-License-Identifier: Apache-2.0
#include "crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "crypto/digest.h"
#include "crypto/hex_for_test.h"

namespace bulkhead {
namespace {

struct Vector {
  const char* key;
  const char* nonce;
  const char* plaintext;
  const char* associated;
  const char* ciphertext;
  const char* tag;
};

constexpr char kZeroKey[] = "0000000000000000000000000000000000000000000000000000000000000000";
// McGrew and Viega, "The Galois/Counter Mode of Operation" (submitted to NIST), appendix B, test
// cases 13, 14 and 16.
constexpr Vector kVectors[] = {
    {kZeroKey, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {kZeroKey, "000000000000000000000000", "00000000000000000000000000000000", "",
     "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
     "b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682"
     "8838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

template <std::size_t N>
std::array<std::byte, N> array_of(const char* hex) {
  const auto bytes = from_hex(hex);
  std::array<std::byte, N> array{};
  CHECK(bytes.size() == N);
  std::ranges::copy(bytes, array.begin());
  return array;
}

TEST(Aead, AnswersTheStandardsExamples) {
  for (const Vector& vector : kVectors) {
    Aead aead = Aead::create(SecretBytes::copy_of(from_hex(vector.key)).value()).value();
    AeadCounter counter(1);
    const auto nonce = array_of<12>(vector.nonce);
    const auto associated = from_hex(vector.associated);
    const auto plaintext = from_hex(vector.plaintext);
    std::vector<std::byte> ciphertext(plaintext.size());
    const auto tag =
        aead.seal(counter.take().value(),
                  {.nonce = nonce, .associated = associated, .text = plaintext}, ciphertext);
    ASSERT_TRUE(tag);
    EXPECT_EQ(to_hex(ciphertext), vector.ciphertext);
    EXPECT_EQ(to_hex(*tag), vector.tag);
    std::vector<std::byte> opened(plaintext.size());
    ASSERT_TRUE(
        aead.open({.nonce = nonce, .associated = associated, .text = ciphertext}, *tag, opened));
    EXPECT_EQ(opened, plaintext);
  }
}

class AeadTamper : public testing::Test {
 protected:
  bool opens() {
    std::vector<std::byte> out(text.size(), std::byte{0xee});
    const bool opened =
        aead.open({.nonce = nonce, .associated = associated, .text = text}, tag, out).has_value();
    if (!opened) {
      EXPECT_EQ(out, std::vector<std::byte>(text.size()));
    }
    return opened;
  }

  Aead aead = Aead::create(SecretBytes::random(32).value()).value();
  AeadNonce nonce{};
  std::vector<std::byte> associated = from_hex("aabbcc");
  std::vector<std::byte> text = from_hex("00112233445566778899aabbccddeeff00112233");
  AeadTag tag{};
};

TEST_F(AeadTamper, EveryFlippedBitIsNoticedAndNothingComesOut) {
  AeadCounter counter(1);
  tag = aead.seal(counter.take().value(), {.nonce = nonce, .associated = associated, .text = text},
                  text)
            .value();
  ASSERT_TRUE(opens());
  for (std::span<std::byte> part : {std::span<std::byte>(nonce), std::span<std::byte>(associated),
                                    std::span<std::byte>(text), std::span<std::byte>(tag)}) {
    for (std::size_t bit = 0; bit < part.size() * 8; ++bit) {
      part[bit / 8] ^= std::byte{1} << bit % 8;
      EXPECT_FALSE(opens());
      part[bit / 8] ^= std::byte{1} << bit % 8;
    }
  }
  EXPECT_TRUE(opens());
}

TEST(Aead, WantsAKeyOf256Bits) {
  EXPECT_EQ(Aead::create(SecretBytes::random(16).value()).error().code, Errc::kInvalidArgument);
}

TEST(AeadCounter, EndsAtItsLimitAndStaysThere) {
  AeadCounter counter(2);
  EXPECT_EQ(counter.take().value().number(), 0u);
  EXPECT_EQ(counter.take().value().number(), 1u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(counter.take().error().code, Errc::kExhausted);
  EXPECT_EQ(counter.taken(), 2u);
}

TEST(AeadCounter, GivesEachNumberOnceToSeveralThreads) {
  constexpr std::uint64_t kLimit = 10000;
  AeadCounter counter(kLimit);
  std::array<std::vector<std::uint64_t>, 3> taken;
  std::vector<std::thread> threads;
  for (auto& mine : taken) {
    threads.emplace_back([&] {
      while (auto use = counter.take()) mine.push_back(use->number());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::uint64_t> all;
  for (const auto& mine : taken) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(taken[0].size() + taken[1].size() + taken[2].size(), kLimit);
  EXPECT_EQ(all.size(), kLimit);
  EXPECT_EQ(*all.rbegin(), kLimit - 1);
}

}  // namespace
}  // namespace bulkhead
