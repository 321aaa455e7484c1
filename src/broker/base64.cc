// SPDX-License-Identifier: Apache-2.0
#include "broker/base64.h"

namespace bulkhead::broker {
namespace {

constexpr std::string_view kCommon =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

std::string alphabet(Base64 form) {
  return std::string(kCommon) + (form == Base64::kUrl ? "-_" : "+/");
}

Error not_base64() {
  return Error{Errc::kMalformed, 0, "not base64 in its one form"};
}

// Without the padding, which must be what the length wants.
Result<std::string_view> unpadded(Base64 form, std::string_view text) {
  if (form == Base64::kUrl) return text;
  if (text.size() % 4 != 0) return not_base64();
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string encode_base64(Base64 form, std::span<const std::byte> bytes) {
  const std::string letters = alphabet(form);
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (std::byte byte : bytes) {
    bits = (bits << 8 | std::to_integer<std::uint32_t>(byte)) & 0xffff;
    for (count += 8; count >= 6; count -= 6) out += letters[bits >> (count - 6) & 63];
  }
  if (count > 0) out += letters[bits << (6 - count) & 63];
  while (form == Base64::kStandard && out.size() % 4 != 0) out += '=';
  return out;
}

Result<Bytes> decode_base64(Base64 form, std::string_view text) {
  const std::string letters = alphabet(form);
  const std::string_view digits = TRY(unpadded(form, text));
  Bytes out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (char c : digits) {
    const std::size_t value = letters.find(c);
    if (value == std::string::npos) return not_base64();
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xfff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::byte>(bits >> count & 0xff));
    }
  }
  // Bits that are left over are zero, and fewer than a letter has.
  if (count >= 6 || (bits & ((1u << count) - 1)) != 0) return not_base64();
  return out;
}

}  // namespace bulkhead::broker
