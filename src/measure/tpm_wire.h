// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "base/byte_reader.h"
#include "measure/tpm_alg.h"

// A TPM's structures as bytes: big-endian, TPM 2.0 Part 2.

namespace bulkhead {

using Bytes = std::vector<std::byte>;

inline Bytes copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

// The content of a TPM2B_*: a size of 16 bits, and as many bytes. kMalformed beyond `max_bytes`.
Result<std::span<const std::byte>> read_2b(ByteReader& reader, std::size_t max_bytes);
Result<TpmAlg> read_algorithm(ByteReader& reader);
// kMalformed if bytes are left over.
Result<void> expect_end(const ByteReader& reader);

// Puts a TPM's structures together, big-endian.
class TpmWriter {
 public:
  TpmWriter& u8(std::uint8_t value) { return number(value); }
  TpmWriter& u16(std::uint16_t value) { return number(value); }
  TpmWriter& u32(std::uint32_t value) { return number(value); }
  TpmWriter& u64(std::uint64_t value) { return number(value); }
  TpmWriter& algorithm(TpmAlg value) { return number(static_cast<std::uint16_t>(value)); }
  TpmWriter& raw(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  // A TPM2B_*.
  TpmWriter& sized(std::span<const std::byte> bytes) {
    CHECK(bytes.size() <= std::numeric_limits<std::uint16_t>::max());
    return u16(static_cast<std::uint16_t>(bytes.size())).raw(bytes);
  }

  Bytes take() { return std::move(bytes_); }

 private:
  template <std::unsigned_integral T>
  TpmWriter& number(T value) {
    for (std::size_t i = sizeof value; i > 0; --i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * (i - 1)) & 0xff));
    }
    return *this;
  }

  Bytes bytes_;
};

}  // namespace bulkhead
