// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead {

// A bounded, forward reader of foreign bytes. Every parser consumes one of these, and
// yields a whole value or an Error: it can neither run past the end nor read a byte twice by
// mistake.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t remaining() const { return bytes_.size() - position_; }
  std::size_t position() const { return position_; }
  bool empty() const { return remaining() == 0; }

  // Little-endian, as x86 is and most formats read here are.
  template <std::unsigned_integral T>
  Result<T> read() {
    if (sizeof(T) > remaining()) return truncated();
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }

  // Big-endian, as a TPM's structures are.
  template <std::unsigned_integral T>
  Result<T> read_be() {
    return read<T>().transform([](T value) { return std::byteswap(value); });
  }

  Result<std::span<const std::byte>> take(std::uint64_t count) {
    if (count > remaining()) return truncated();
    auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  Result<void> skip(std::uint64_t count) {
    if (count > remaining()) return truncated();
    position_ += count;
    return {};
  }

  Result<void> seek(std::uint64_t position) {
    if (position > bytes_.size()) return truncated();
    position_ = position;
    return {};
  }

 private:
  static Error truncated() { return Error{Errc::kTruncated, 0, "data ends too early"}; }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

// Writes a little-endian value at an offset of a buffer of ours; the offset is never foreign.
template <std::unsigned_integral T>
void put_le(std::span<std::byte> buffer, std::size_t offset, T value) {
  CHECK(range_fits(offset, sizeof value, buffer.size()));
  std::memcpy(buffer.data() + offset, &value, sizeof value);
}

template <std::unsigned_integral T>
T get_le(std::span<const std::byte> buffer, std::size_t offset) {
  CHECK(range_fits(offset, sizeof(T), buffer.size()));
  T value;
  std::memcpy(&value, buffer.data() + offset, sizeof value);
  return value;
}

}  // namespace bulkhead
