// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string decoded(Base64 form, std::string_view text) {
  const auto bytes = decode_base64(form, text);
  if (!bytes) return "refused";
  return {static_cast<const char*>(static_cast<const void*>(bytes->data())), bytes->size()};
}

// RFC 4648 §10.
TEST(Base64, Vectors) {
  constexpr std::pair<std::string_view, std::string_view> kVectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [plain, text] : kVectors) {
    EXPECT_EQ(encode_base64(Base64::kStandard, bytes_of(plain)), text);
    EXPECT_EQ(decoded(Base64::kStandard, text), plain);
    const std::string_view unpadded = text.substr(0, text.find('='));
    EXPECT_EQ(encode_base64(Base64::kUrl, bytes_of(plain)), unpadded);
    EXPECT_EQ(decoded(Base64::kUrl, unpadded), plain);
  }
  EXPECT_EQ(encode_base64(Base64::kUrl, bytes_of("\xfb\xff\xfe")), "-__-");
  EXPECT_EQ(decoded(Base64::kUrl, "-__-"), "\xfb\xff\xfe");
  EXPECT_EQ(encode_base64(Base64::kStandard, bytes_of("\xfb\xff\xfe")), "+//+");
  EXPECT_EQ(decoded(Base64::kStandard, "+//+"), "\xfb\xff\xfe");
}

TEST(Base64, TakesOneFormOnly) {
  for (const char* text :
       {"Zg==", "Zg=", "Z", "Zm9vY", "Zh", "Zm9", "Zm 8", "Zm8\n", "+//+", "Zm.8", "Zm9v\x80"}) {
    EXPECT_EQ(decoded(Base64::kUrl, text), "refused") << text;
  }
  for (const char* text : {"Zg", "Zg=", "Zh==", "Zm9=", "Zm9v\n", "Zm 9", "=",
                           "==", "===", "====", "Zg===", "Z===", "Zg=A", "-_8=", "Zm9v===="}) {
    EXPECT_EQ(decoded(Base64::kStandard, text), "refused") << text;
  }
}

TEST(Base64, EveryLengthComesBack) {
  std::string plain;
  for (int i = 0; i < 70; ++i) {
    for (const Base64 form : {Base64::kStandard, Base64::kUrl}) {
      EXPECT_EQ(decoded(form, encode_base64(form, bytes_of(plain))), plain);
    }
    plain += static_cast<char>(i * 37);
  }
}

}  // namespace
}  // namespace bulkhead
