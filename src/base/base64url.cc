// SPDX-License-Identifier: Apache-2.0
#include "base/base64url.h"

#include <array>
#include <cstdint>

namespace bulkhead {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kNoDigit = 64;

constexpr std::array<std::uint8_t, 256> values_of_digits() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (std::uint8_t i = 0; i < kDigits.size(); ++i) {
    values[static_cast<unsigned char>(kDigits[i])] = i;
  }
  return values;
}
constexpr auto kValues = values_of_digits();

}  // namespace

std::string encode_base64url(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::byte byte : bytes) {
    bits = bits << 8 | std::to_integer<std::uint32_t>(byte);
    for (count += 8; count >= 6; count -= 6) text += kDigits[bits >> (count - 6) & 63];
  }
  if (count > 0) text += kDigits[bits << (6 - count) & 63];
  return text;
}

Result<std::vector<std::byte>> decode_base64url(std::string_view text) {
  const Error malformed{Errc::kMalformed, 0, "not base64url without padding"};
  if (text.size() % 4 == 1) return malformed;
  std::vector<std::byte> bytes(text.size() * 3 / 4);
  std::size_t written = 0;
  std::uint32_t bits = 0;
  unsigned count = 0;
  unsigned seen = 0;  // the bits of all values: of digits alone, it stays below kNoDigit
  for (const char c : text) {
    const std::uint8_t value = kValues[static_cast<unsigned char>(c)];
    seen |= value;
    bits = bits << 6 | value;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[written++] = static_cast<std::byte>(bits >> count & 0xff);
  }
  if (seen >= kNoDigit || (bits & ((1U << count) - 1)) != 0) return malformed;
  return bytes;
}

}  // namespace bulkhead
