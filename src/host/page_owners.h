// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <unordered_map>

#include "host/page_tables.h"

namespace bulkhead::host {

// Whom a page belongs to: a place in the caller's list of owners.
using OwnerId = std::uint16_t;
inline constexpr OwnerId kNotWatched = 0xffff;

// The owners of physical pages, and how often each page was seen mapped. 4 bytes a page, in blocks
// of 2 MiB of memory; only blocks with a watched page exist.
class PageOwners {
 public:
  struct Page {
    OwnerId owner = kNotWatched;
    std::uint8_t mapped_by_owner = 0;  // these two stop at 255
    std::uint8_t mapped = 0;
  };
  static constexpr std::size_t kPagesPerBlock = kFrameSize / kPageSize;
  using Block = std::array<Page, kPagesPerBlock>;

  // The owner now, which is another one if the page had one already.
  OwnerId claim(Pfn pfn, OwnerId owner);
  // nullptr when nobody claimed it.
  Page* find(Pfn pfn);
  OwnerId owner(Pfn pfn);
  std::uint64_t pages() const { return pages_; }
  // The blocks in ascending order.
  void for_each_block(const std::function<void(Pfn first, Block& block)>& visit);

 private:
  std::unordered_map<std::uint64_t, Block> blocks_;
  // The block looked up last, as neighbours mostly lie in the same.
  std::uint64_t last_number_ = UINT64_MAX;
  Block* last_ = nullptr;
  std::uint64_t pages_ = 0;
};

}  // namespace bulkhead::host
