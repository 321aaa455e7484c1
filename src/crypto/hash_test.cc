// SPDX-License-Identifier: Apache-2.0
#include "crypto/hash.h"

#include <gtest/gtest.h>

#include <string_view>

#include "crypto/digest.h"

namespace bulkhead {
namespace {

using enum HashAlgorithm;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

struct Example {
  HashAlgorithm algorithm;
  const char* name;
  const char* abc;  // FIPS 180-4's example of one block
};

constexpr Example kExamples[] = {
    {kSha1, "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {kSha256, "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {kSha384, "sha384",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
     "8086072ba1e7cc2358baeca134c825a7"},
    {kSha512, "sha512",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
};

TEST(Hash, AnswersTheStandardsExamples) {
  for (const Example& example : kExamples) {
    EXPECT_STREQ(to_string(example.algorithm), example.name);
    const Digest digest = Hash::of(example.algorithm, {bytes_of("a"), {}, bytes_of("bc")}).value();
    EXPECT_EQ(digest.algorithm(), example.algorithm);
    EXPECT_EQ(to_hex(digest.bytes()), example.abc);
  }
}

TEST(MultiHash, IsEachOfItsHashes) {
  constexpr HashAlgorithm kAlgorithms[] = {kSha512, kSha1, kSha384, kSha256};
  const DigestSet set = MultiHash::of(kAlgorithms, bytes_of("abc")).value();
  ASSERT_EQ(set.size(), 4u);
  EXPECT_EQ(set[0].algorithm(), kSha512);
  for (const Example& example : kExamples) {
    EXPECT_EQ(to_hex(find_digest(set, example.algorithm)->bytes()), example.abc);
  }
  EXPECT_EQ(find_digest({set[0]}, kSha1), nullptr);
}

TEST(Digest, HasItsAlgorithmsLength) {
  const std::array<std::byte, kMaxDigestBytes> bytes{};
  for (const Example& example : kExamples) {
    const std::size_t size = digest_bytes(example.algorithm);
    EXPECT_TRUE(Digest::of_bytes(example.algorithm, std::span(bytes).first(size)));
    EXPECT_FALSE(Digest::of_bytes(example.algorithm, std::span(bytes).first(size - 1)));
  }
  EXPECT_FALSE(Digest::of_bytes(kSha1, bytes));
}

TEST(Digest, DiffersFromAnotherAlgorithmsOfTheSameBytes) {
  EXPECT_EQ(Digest(kSha256), Digest(kSha256));
  EXPECT_NE(Digest(kSha256), Digest(kSha1));
}

TEST(Hash, CanBeUsedAgain) {
  for (const HashAlgorithm algorithm :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384}) {
    Hash hash = Hash::create(algorithm).value();
    for (std::string_view text : {"", "abc",
                                  "a longer text than a block of any of these hashes: "
                                  "that is sixty-four bytes, or one hundred and twenty-eight"}) {
      const auto bytes = std::as_bytes(std::span(text));
      EXPECT_EQ(hash.next({bytes, bytes}).value(), Hash::of(algorithm, {bytes, bytes}).value());
    }
  }
}

}  // namespace
}  // namespace bulkhead
