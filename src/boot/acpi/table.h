// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"

namespace bulkhead::boot::acpi {

// The byte that makes all bytes together sum to 0 (ACPI 6.5 §5.2.6).
std::uint8_t checksum(std::span<const std::byte> bytes);

struct TableKind {
  std::string_view signature;  // 4 characters
  std::uint8_t revision = 1;
};

// A system description table under construction: the common header, then fields in order.
class TableBuilder {
 public:
  static constexpr std::size_t kHeaderBytes = 36;

  explicit TableBuilder(const TableKind& kind);

  template <std::unsigned_integral T>
  TableBuilder& add(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    put_le(std::span(bytes_), at, value);
    return *this;
  }
  TableBuilder& add(std::string_view text);
  TableBuilder& add_zeros(std::size_t count);
  // Overwrites a field at an offset from the table's start.
  template <std::unsigned_integral T>
  TableBuilder& set(std::size_t offset, T value) {
    put_le(std::span(bytes_), offset, value);
    return *this;
  }

  // Fills in length and checksum.
  std::vector<std::byte> finish() &&;

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace bulkhead::boot::acpi
