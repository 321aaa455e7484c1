// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/byte_reader.h"

namespace bulkhead {

// Identifier octets (X.690, 8.1.2) of what a certificate is made of; other tags cannot be asked
// for, so that they are refused.
enum class DerTag : std::uint8_t {
  kBoolean = 0x01,
  kInteger = 0x02,
  kBitString = 0x03,
  kOctetString = 0x04,
  kObjectIdentifier = 0x06,
  kUtf8String = 0x0c,
  kPrintableString = 0x13,
  kUtcTime = 0x17,
  kGeneralizedTime = 0x18,
  kSequence = 0x30,
  kSet = 0x31,
  kContext0 = 0x80,          // [0] IMPLICIT of something primitive
  kContext0Explicit = 0xa0,  // [0] EXPLICIT
  kContext3Explicit = 0xa3,
};

// A forward reader of elements in DER (X.690, 10.1): lengths in their shortest form only, of two
// bytes at most. What it gives are parts of the bytes that it was given.
class DerReader {
 public:
  explicit DerReader(std::span<const std::byte> bytes) : bytes_(bytes), reader_(bytes) {}

  bool empty() const { return reader_.empty(); }
  // Whether an element of that kind is next.
  bool is_next(DerTag tag) const;

  // The content of the next element, which must be of that kind.
  Result<std::span<const std::byte>> take(DerTag tag);
  // The same, to read on in it.
  Result<DerReader> enter(DerTag tag);
  // The same, with tag and length.
  Result<std::span<const std::byte>> take_whole(DerTag tag);
  // An INTEGER that is not negative, without a sign's leading zero.
  Result<std::span<const std::byte>> take_unsigned();
  // A BIT STRING without unused bits.
  Result<std::span<const std::byte>> take_octets_of_bits();
  // kMalformed if something is left over.
  Result<void> expect_end() const;

 private:
  Result<std::size_t> length();

  std::span<const std::byte> bytes_;
  ByteReader reader_;
};

// Whether this is the content of an OBJECT IDENTIFIER (X.690, 8.19): whole arcs, in their shortest
// form.
bool is_object_identifier(std::span<const std::byte> content);

}  // namespace bulkhead
