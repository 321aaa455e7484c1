// SPDX-License-Identifier: Apache-2.0
#include "attest/key_info.h"

#include <algorithm>
#include <initializer_list>

namespace bulkhead {
namespace {

constexpr unsigned kInteger = 0x02;
constexpr unsigned kBitString = 0x03;
constexpr unsigned kSequence = 0x30;

// AlgorithmIdentifiers as a whole.
constexpr unsigned char kRsaEncryption[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                            0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
constexpr unsigned char kP256[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                   0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr unsigned char kP384[] = {0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                   0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr unsigned char kExponent[] = {0x02, 0x03, 0x01, 0x00, 0x01};  // INTEGER 65537

using Parts = std::initializer_list<std::span<const std::byte>>;

// X.690, 8.1.3: one byte below 128, or the number of bytes that follow.
void write_length(TpmWriter& writer, std::size_t length) {
  if (length < 0x80) {
    writer.u8(static_cast<std::uint8_t>(length));
  } else if (length < 0x100) {
    writer.u8(0x81).u8(static_cast<std::uint8_t>(length));
  } else {
    writer.u8(0x82).u16(static_cast<std::uint16_t>(length));
  }
}

Bytes der(unsigned tag, Parts parts) {
  std::size_t length = 0;
  for (const auto& part : parts) length += part.size();
  TpmWriter writer;
  write_length(writer.u8(static_cast<std::uint8_t>(tag)), length);
  for (const auto& part : parts) writer.raw(part);
  return writer.take();
}

// A positive number: without needless zeros, and with one where it would look negative.
Bytes der_integer(std::span<const std::byte> number) {
  const auto first = std::ranges::find_if(number, [](std::byte b) { return b != std::byte{0}; });
  const auto digits = number.last(static_cast<std::size_t>(number.end() - first));
  const std::byte zero[1] = {};
  const bool high = !digits.empty() && (digits.front() & std::byte{0x80}) != std::byte{0};
  return der(kInteger, {std::span(zero).first(high ? 1 : 0), digits});
}

// No unused bits (X.690, 8.6).
Bytes der_bits(std::span<const std::byte> bytes) {
  const std::byte unused[1] = {};
  return der(kBitString, {unused, bytes});
}

// SEC 1, 2.3.3. Coordinates may have lost leading zeros.
Bytes uncompressed(const TpmEccKey& key) {
  const std::size_t size = coordinate_bytes(key.curve);
  CHECK(key.x.size() <= size && key.y.size() <= size);  // the parser has seen to it
  TpmWriter writer;
  writer.u8(4).raw(Bytes(size - key.x.size())).raw(key.x);
  return writer.raw(Bytes(size - key.y.size())).raw(key.y).take();
}

Bytes info_of(const TpmRsaKey& key) {
  const Bytes numbers =
      der(kSequence, {der_integer(key.modulus), std::as_bytes(std::span(kExponent))});
  return der(kSequence, {std::as_bytes(std::span(kRsaEncryption)), der_bits(numbers)});
}

Bytes info_of(const TpmEccKey& key) {
  return der(kSequence,
             {std::as_bytes(algorithm_identifier(key.curve)), der_bits(uncompressed(key))});
}

}  // namespace

std::span<const unsigned char> algorithm_identifier(Curve curve) {
  if (curve == Curve::kP256) return kP256;
  return kP384;
}

Bytes subject_public_key_info(const TpmPublic& object) {
  return std::visit([](const auto& key) { return info_of(key); }, object.key);
}

}  // namespace bulkhead
