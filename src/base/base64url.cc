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

std::byte low_byte(std::uint32_t bits) {
  return static_cast<std::byte>(bits & 0xff);
}

// Decodes digits, and remembers whether all of them were some.
class Digits {
 public:
  // Six bits each.
  std::uint32_t take(std::string_view digits) {
    std::uint32_t bits = 0;
    for (const char c : digits) bits = bits << 6 | take(c);
    return bits;
  }
  std::uint32_t take_four(std::string_view digits) {
    return take(digits[0]) << 18 | take(digits[1]) << 12 | take(digits[2]) << 6 | take(digits[3]);
  }
  // The values of digits have no bit in common with kNoDigit.
  bool are_good() const { return (seen_ & kNoDigit) == 0; }

 private:
  std::uint32_t take(char digit) {
    const std::uint32_t value = kValues[static_cast<unsigned char>(digit)];
    seen_ |= value;
    return value;
  }

  std::uint32_t seen_ = 0;
};

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
  Digits digits;
  std::size_t written = 0;
  for (; text.size() >= 4; text.remove_prefix(4)) {
    const std::uint32_t bits = digits.take_four(text);
    for (unsigned shift : {16U, 8U, 0U}) bytes[written++] = low_byte(bits >> shift);
  }
  // Two digits are a byte and four bits, three are two bytes and two bits, which must be zero.
  const unsigned left_over = text.size() == 2 ? 4 : 2;
  const std::uint32_t bits = digits.take(text);
  if (text.size() == 3) bytes[written++] = low_byte(bits >> 10);
  if (!text.empty()) bytes[written++] = low_byte(bits >> left_over);
  const bool ends_well = text.empty() || (bits & ((1U << left_over) - 1)) == 0;
  if (!digits.are_good() || !ends_well) return malformed;
  return bytes;
}

}  // namespace bulkhead
