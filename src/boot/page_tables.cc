// SPDX-License-Identifier: Apache-2.0
#include "boot/page_tables.h"

#include <array>
#include <cstdint>
#include <span>

#include "boot/layout.h"

namespace bulkhead::boot {
namespace {

// SDM volume 3, "4-Level Paging".
constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kPageSizeBit = 0x80;
constexpr std::uint64_t kLargePage = 2 * kMiB;
constexpr std::uint64_t kDirectories = 4;  // of 1 GiB each

using Table = std::array<std::uint64_t, 512>;

Result<void> write_table(GuestMemory& memory, Gpa at, const Table& table) {
  return memory.write(at, std::as_bytes(std::span(table)));
}

}  // namespace

Result<void> write_identity_page_tables(GuestMemory& memory) {
  const Gpa pml4_at = kPageTableBase;
  const Gpa pdpt_at = pml4_at + kPageSize;
  const Gpa directories_at = pdpt_at + kPageSize;
  Table table{};
  table[0] = pdpt_at.value() | kPresentWritable;
  TRY(write_table(memory, pml4_at, table));
  for (std::uint64_t i = 0; i < kDirectories; ++i) {
    table[i] = (directories_at + i * kPageSize).value() | kPresentWritable;
  }
  TRY(write_table(memory, pdpt_at, table));
  for (std::uint64_t i = 0; i < kDirectories; ++i) {
    for (std::uint64_t j = 0; j < table.size(); ++j) {
      table[j] = (i * kGiB + j * kLargePage) | kPresentWritable | kPageSizeBit;
    }
    TRY(write_table(memory, directories_at + i * kPageSize, table));
  }
  return {};
}

}  // namespace bulkhead::boot
