// SPDX-License-Identifier: Apache-2.0
#include "base/base64url.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string decoded(std::string_view text) {
  const auto bytes = decode_base64url(text);
  if (!bytes) return "refused";
  return {static_cast<const char*>(static_cast<const void*>(bytes->data())), bytes->size()};
}

// RFC 4648 §10, without the padding.
TEST(Base64url, Vectors) {
  constexpr std::pair<std::string_view, std::string_view> kVectors[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [plain, text] : kVectors) {
    EXPECT_EQ(encode_base64url(bytes_of(plain)), text);
    EXPECT_EQ(decoded(text), plain);
  }
  EXPECT_EQ(encode_base64url(bytes_of("\xfb\xff\xfe")), "-__-");
  EXPECT_EQ(decoded("-__-"), "\xfb\xff\xfe");
}

// Two texts for the same bytes would be two names of one thing.
TEST(Base64url, TakesOneFormOnly) {
  for (const char* text :
       {"Zg==", "Zg=", "Z", "Zm9vY", "Zh", "Zm9", "Zm 8", "Zm8\n", "+//+", "Zm.8", "Zm9v\x80"}) {
    EXPECT_EQ(decoded(text), "refused") << text;
  }
}

TEST(Base64url, EveryLengthComesBack) {
  std::string plain;
  for (int i = 0; i < 70; ++i) {
    EXPECT_EQ(decoded(encode_base64url(bytes_of(plain))), plain);
    plain += static_cast<char>(i * 37);
  }
}

}  // namespace
}  // namespace bulkhead
