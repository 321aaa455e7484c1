// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <limits>
#include <utility>

#include "attest/tpm_types.h"

namespace bulkhead {

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
