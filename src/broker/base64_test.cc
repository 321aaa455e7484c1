// SPDX-License-Identifier: Apache-2.0
#include "broker/base64.h"

#include <gtest/gtest.h>

namespace bulkhead::broker {
namespace {

// RFC 4648, section 10.
TEST(Base64, HasTheVectorsOfTheRfc) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(encode_base64(Base64::kStandard, bytes_of(plain)), encoded);
    const auto decoded = decode_base64(Base64::kStandard, encoded);
    ASSERT_TRUE(decoded) << encoded;
    EXPECT_EQ(text_of(*decoded), plain);
  }
}

TEST(Base64, UrlFormHasNoPaddingAndItsOwnLetters) {
  const Bytes bytes = {std::byte{0xfb}, std::byte{0xff}};
  EXPECT_EQ(encode_base64(Base64::kUrl, bytes), "-_8");
  EXPECT_EQ(*decode_base64(Base64::kUrl, "-_8"), bytes);
}

TEST(Base64, EveryOtherTextIsRefused) {
  for (const char* text : {"Zg", "Zg=", "Zh==", "Zm9=", "Zm9v\n", "Zm 9", "=", "====", "-_8="}) {
    EXPECT_FALSE(decode_base64(Base64::kStandard, text)) << text;
  }
  for (const char* text : {"Zg==", "Zh", "-_9", "A", "+/8"}) {
    EXPECT_FALSE(decode_base64(Base64::kUrl, text)) << text;
  }
}

}  // namespace
}  // namespace bulkhead::broker
