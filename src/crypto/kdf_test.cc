// SPDX-License-Identifier: Apache-2.0
#include "crypto/kdf.h"

#include <gtest/gtest.h>

#include <string_view>

#include "crypto/hex_for_test.h"

namespace bulkhead {
namespace {

std::vector<std::byte> counting(int from, int to) {
  std::vector<std::byte> bytes;
  for (int i = from; i <= to; ++i) bytes.push_back(static_cast<std::byte>(i));
  return bytes;
}

// RFC 5869, appendix A.1 to A.3.
TEST(Hkdf, AnswersTheStandardsExamples) {
  const std::vector<std::byte> ikm(22, std::byte{0x0b});
  EXPECT_EQ(
      to_hex(hkdf_sha256({.key = ikm, .salt = counting(0, 12), .info = counting(0xf0, 0xf9)}, 42)
                 .value()
                 .bytes()),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(to_hex(hkdf_sha256({.key = counting(0, 0x4f),
                                .salt = counting(0x60, 0xaf),
                                .info = counting(0xb0, 0xff)},
                               82)
                       .value()
                       .bytes()),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41"
            "c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(to_hex(hkdf_sha256({.key = ikm}, 42).value().bytes()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

// RFC 4231, test cases 1 and 2.
TEST(Hmac, AnswersTheStandardsExamples) {
  const auto hmac = [](std::span<const std::byte> key, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return to_hex(hmac_sha256(key, {bytes.first(3), bytes.subspan(3)}).value());
  };
  const std::vector<std::byte> key(20, std::byte{0x0b});
  EXPECT_EQ(hmac(key, "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac(from_hex("4a656665"), "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace bulkhead
