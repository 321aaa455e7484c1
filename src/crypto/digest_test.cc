// SPDX-License-Identifier: Apache-2.0
#include "crypto/digest.h"

#include <gtest/gtest.h>

#include <string_view>

namespace bulkhead {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// FIPS 180-2, appendix B.
TEST(Sha256, AnswersTheStandardsExamples) {
  EXPECT_EQ(to_hex(Sha256::of(bytes_of("abc")).value()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(
      to_hex(
          Sha256::of(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).value()),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(Sha256::of({}).value()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, DoesNotDependOnHowTheBytesAreCut) {
  Sha256 sha = Sha256::create().value();
  ASSERT_TRUE(sha.update(bytes_of("a")));
  ASSERT_TRUE(sha.update({}));
  ASSERT_TRUE(sha.update(bytes_of("bc")));
  EXPECT_EQ(std::move(sha).finish().value(), Sha256::of(bytes_of("abc")).value());
}

TEST(Hex, IsReadBackAndNothingElseIs) {
  const std::vector<std::byte> bytes = {std::byte{0x00}, std::byte{0x9a}, std::byte{0xff}};
  EXPECT_EQ(to_hex(bytes), "009aff");
  EXPECT_EQ(decode_hex("009aff").value(), bytes);
  EXPECT_EQ(decode_hex("009AFf").value(), bytes);
  EXPECT_TRUE(decode_hex("").value().empty());
  for (std::string_view text : {"0", "0g", "g0", " 0", "-1", "+1", "0x", "00 0", "1."}) {
    EXPECT_EQ(decode_hex(text).error().code, Errc::kMalformed) << text;
  }
}

}  // namespace
}  // namespace bulkhead
