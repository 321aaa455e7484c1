// SPDX-License-Identifier: Apache-2.0
#include "attest/der_reader.h"

namespace bulkhead {
namespace {

constexpr std::byte kHighBit{0x80};

Error malformed() {
  return Error{Errc::kMalformed, 0, "not DER, or not what is expected there"};
}

bool is_high(std::byte byte) {
  return (byte & kHighBit) != std::byte{0};
}

}  // namespace

bool DerReader::is_next(DerTag tag) const {
  return !empty() && bytes_[reader_.position()] == static_cast<std::byte>(tag);
}

// X.690, 8.1.3: one byte below 128, or the number of bytes that follow. A longer form than needed,
// or the indefinite one, is not DER.
Result<std::size_t> DerReader::length() {
  const auto first = TRY(reader_.read<std::uint8_t>());
  if (first < 0x80) return std::size_t{first};
  if (first == 0x81) {
    const auto length = TRY(reader_.read<std::uint8_t>());
    if (length < 0x80) return malformed();
    return std::size_t{length};
  }
  if (first != 0x82) return malformed();
  const auto length = TRY(reader_.read_be<std::uint16_t>());
  if (length < 0x100) return malformed();
  return std::size_t{length};
}

Result<std::span<const std::byte>> DerReader::take(DerTag tag) {
  if (!is_next(tag)) return malformed();
  TRY(reader_.skip(1));
  return reader_.take(TRY(length()));
}

Result<DerReader> DerReader::enter(DerTag tag) {
  return DerReader(TRY(take(tag)));
}

Result<std::span<const std::byte>> DerReader::take_whole(DerTag tag) {
  const std::size_t start = reader_.position();
  TRY(take(tag));
  return bytes_.subspan(start, reader_.position() - start);
}

Result<std::span<const std::byte>> DerReader::take_unsigned() {
  const auto content = TRY(take(DerTag::kInteger));
  if (content.empty() || is_high(content[0])) return malformed();
  if (content.size() == 1 || content[0] != std::byte{0}) return content;
  if (!is_high(content[1])) return malformed();  // a needless zero
  return content.subspan(1);
}

Result<std::span<const std::byte>> DerReader::take_octets_of_bits() {
  const auto content = TRY(take(DerTag::kBitString));
  if (content.empty() || content[0] != std::byte{0}) return malformed();
  return content.subspan(1);
}

Result<void> DerReader::expect_end() const {
  if (!empty()) return malformed();
  return {};
}

bool is_object_identifier(std::span<const std::byte> content) {
  if (content.empty() || is_high(content.back())) return false;
  bool starts = true;  // an arc
  for (std::byte byte : content) {
    if (starts && byte == kHighBit) return false;
    starts = !is_high(byte);
  }
  return true;
}

}  // namespace bulkhead
