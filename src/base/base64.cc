// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <array>
#include <cstdint>

namespace bulkhead {
namespace {

constexpr std::uint8_t kNoDigit = 64;

// One of the two alphabets, for both directions.
class Alphabet {
 public:
  constexpr explicit Alphabet(std::string_view digits) : digits_(digits) {
    values_.fill(kNoDigit);
    for (std::uint8_t i = 0; i < digits.size(); ++i) {
      values_[static_cast<unsigned char>(digits[i])] = i;
    }
  }
  constexpr char digit(std::uint32_t bits) const { return digits_[bits & 63]; }
  constexpr std::uint8_t value(char digit) const {
    return values_[static_cast<unsigned char>(digit)];
  }

 private:
  std::string_view digits_;
  std::array<std::uint8_t, 256> values_{};
};
constexpr Alphabet kStandard("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
constexpr Alphabet kUrl("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

constexpr const Alphabet& alphabet(Base64 form) {
  return form == Base64::kUrl ? kUrl : kStandard;
}

std::byte low_byte(std::uint32_t bits) {
  return static_cast<std::byte>(bits & 0xff);
}

// Decodes digits, and remembers whether all of them were some.
class Digits {
 public:
  explicit Digits(const Alphabet& alphabet) : alphabet_(alphabet) {}
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
    const std::uint32_t value = alphabet_.value(digit);
    seen_ |= value;
    return value;
  }

  const Alphabet& alphabet_;
  std::uint32_t seen_ = 0;
};

Error malformed(Base64 form) {
  return Error{Errc::kMalformed, 0,
               form == Base64::kUrl ? "not base64url without padding" : "not base64 with padding"};
}

// Without the padding, which must be what the length wants.
Result<std::string_view> unpadded(Base64 form, std::string_view text) {
  if (form == Base64::kUrl) return text;
  if (text.size() % 4 != 0) return malformed(form);
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string encode_base64(Base64 form, std::span<const std::byte> bytes) {
  const Alphabet& letters = alphabet(form);
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::byte byte : bytes) {
    bits = bits << 8 | std::to_integer<std::uint32_t>(byte);
    for (count += 8; count >= 6; count -= 6) text += letters.digit(bits >> (count - 6));
  }
  if (count > 0) text += letters.digit(bits << (6 - count));
  while (form == Base64::kStandard && text.size() % 4 != 0) text += '=';
  return text;
}

Result<std::vector<std::byte>> decode_base64(Base64 form, std::string_view padded) {
  std::string_view text = TRY(unpadded(form, padded));
  if (text.size() % 4 == 1) return malformed(form);
  std::vector<std::byte> bytes(text.size() * 3 / 4);
  Digits digits(alphabet(form));
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
  if (!digits.are_good() || !ends_well) return malformed(form);
  return bytes;
}

}  // namespace bulkhead
