// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi/table.h"

namespace bulkhead::boot::acpi {
namespace {

constexpr std::size_t kLengthAt = 4;
constexpr std::size_t kChecksumAt = 9;
constexpr std::string_view kOemId = "BULKHD";
constexpr std::string_view kOemTableId = "PARTITIO";
constexpr std::string_view kCreatorId = "BLKH";

}  // namespace

std::uint8_t checksum(std::span<const std::byte> bytes) {
  std::uint8_t sum = 0;
  for (std::byte byte : bytes) sum = static_cast<std::uint8_t>(sum + std::to_integer<int>(byte));
  return static_cast<std::uint8_t>(-sum);
}

// ACPI 6.5 §5.2.6, table "DESCRIPTION_HEADER Fields".
TableBuilder::TableBuilder(const TableKind& kind) {
  CHECK(kind.signature.size() == 4);
  add(kind.signature).add(std::uint32_t{0}).add(kind.revision).add(std::uint8_t{0});
  add(kOemId).add(kOemTableId).add(std::uint32_t{1}).add(kCreatorId).add(std::uint32_t{1});
  CHECK(bytes_.size() == kHeaderBytes);
}

TableBuilder& TableBuilder::add(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

TableBuilder& TableBuilder::add_zeros(std::size_t count) {
  bytes_.resize(bytes_.size() + count);
  return *this;
}

std::vector<std::byte> TableBuilder::finish() && {
  set(kLengthAt, static_cast<std::uint32_t>(bytes_.size()));
  set(kChecksumAt, checksum(bytes_));
  return std::move(bytes_);
}

}  // namespace bulkhead::boot::acpi
