// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "seal/page_sealer.h"

namespace bulkhead {

static_assert(std::endian::native == std::endian::little, "entries lie in memory as in the store");

inline constexpr std::uint64_t kSlotUnit = kKiB;  // unit of locations
inline constexpr std::uint64_t kTreeFanout = 128;

// How many bytes a block of this kind takes; 0 for an absent one.
constexpr std::uint64_t stored_bytes(PageKind kind) {
  switch (kind) {
    case PageKind::kAbsent:
      return 0;
    case PageKind::kPlain:
      return 4 * kKiB;
    case PageKind::kPacked1K:
      return 1 * kKiB;
    case PageKind::kPacked2K:
      return 2 * kKiB;
  }
  return 0;
}

// Where a block lies in the medium, in units of 1 KiB.
class SlotIndex {
 public:
  constexpr SlotIndex() = default;
  constexpr explicit SlotIndex(std::uint64_t value) : value_(value) {}
  constexpr std::uint64_t value() const { return value_; }
  constexpr std::uint64_t offset_bytes() const { return value_ * kSlotUnit; }
  constexpr bool operator==(const SlotIndex&) const = default;

 private:
  std::uint64_t value_ = 0;
};

// What the tree knows of one block: 32 bytes, as they lie in a node (docs/formats/sealed.md).
class TreeEntry {
 public:
  TreeEntry() = default;  // absent
  TreeEntry(std::size_t session, SlotIndex slot, PageKind kind, const PageSeal& seal)
      : version_(seal.sequence | std::uint64_t{session} << 48),
        place_(slot.value() | std::uint64_t{static_cast<std::uint8_t>(kind)} << 48),
        tag_(seal.tag) {}

  bool absent() const { return kind() == PageKind::kAbsent; }
  std::size_t session() const { return static_cast<std::size_t>(version_ >> 48); }
  PageSeal seal() const { return {.sequence = version_ & kLow48, .tag = tag_}; }
  SlotIndex slot() const { return SlotIndex(place_ & kLow48); }
  PageKind kind() const { return static_cast<PageKind>(place_ >> 48 & 0xff); }
  bool operator==(const TreeEntry&) const = default;

  // Whether the fields are such as this program writes.
  bool well_formed() const {
    if (absent()) return *this == TreeEntry();
    return place_ >> 48 <= static_cast<std::uint64_t>(PageKind::kPacked2K);
  }

 private:
  static constexpr std::uint64_t kLow48 = (std::uint64_t{1} << 48) - 1;

  std::uint64_t version_ = 0;  // sequence (48 bits), session
  std::uint64_t place_ = 0;    // slot (48 bits), kind (8), 0
  AeadTag tag_{};
};
static_assert(sizeof(TreeEntry) == 32);

struct TreeNode {
  std::array<TreeEntry, kTreeFanout> entries;

  std::span<std::byte, kPageSize> bytes() { return std::as_writable_bytes(std::span(entries)); }
  std::span<const std::byte, kPageSize> bytes() const { return std::as_bytes(std::span(entries)); }
  bool empty() const {
    for (const TreeEntry& entry : entries) {
      if (!entry.absent()) return false;
    }
    return true;
  }
};
static_assert(sizeof(TreeNode) == kPageSize);

// The tree over a number of pages: level 1 has entries of pages, level n those of level n - 1. The
// depth follows from the number alone, so nothing in a store can make the tree deeper.
class TreeShape {
 public:
  static constexpr std::uint64_t kMaxPages = std::uint64_t{1} << 35;

  explicit TreeShape(std::uint64_t page_count) : page_count_(page_count) {
    CHECK(page_count != 0 && page_count <= kMaxPages);
    while (node_count(top_) > 1) ++top_;
  }

  std::uint64_t page_count() const { return page_count_; }
  unsigned top() const { return top_; }  // the root's level
  // Pages for level 0.
  std::uint64_t node_count(unsigned level) const {
    std::uint64_t count = page_count_;
    for (unsigned i = 0; i < level; ++i) count = (count + kTreeFanout - 1) / kTreeFanout;
    return count;
  }

 private:
  std::uint64_t page_count_;
  unsigned top_ = 1;
};

}  // namespace bulkhead
