// SPDX-License-Identifier: Apache-2.0
#include "host/page_owners.h"

#include <algorithm>

namespace bulkhead::host {

OwnerId PageOwners::claim(Pfn pfn, OwnerId owner) {
  const std::uint64_t number = pfn.value() / kPagesPerBlock;
  if (number != last_number_ || last_ == nullptr) {
    last_ = &blocks_[number];  // references stay valid when the table grows
    last_number_ = number;
  }
  Page& page = (*last_)[pfn.value() % kPagesPerBlock];
  if (page.owner == kNotWatched) {
    page.owner = owner;
    ++pages_;
  }
  return page.owner;
}

PageOwners::Page* PageOwners::find(Pfn pfn) {
  const std::uint64_t number = pfn.value() / kPagesPerBlock;
  if (number != last_number_) {
    const auto found = blocks_.find(number);
    last_ = found == blocks_.end() ? nullptr : &found->second;
    last_number_ = number;
  }
  if (last_ == nullptr) return nullptr;
  Page& page = (*last_)[pfn.value() % kPagesPerBlock];
  return page.owner == kNotWatched ? nullptr : &page;
}

OwnerId PageOwners::owner(Pfn pfn) {
  const Page* page = find(pfn);
  return page == nullptr ? kNotWatched : page->owner;
}

void PageOwners::for_each_block(const std::function<void(Pfn first, Block& block)>& visit) {
  std::vector<std::uint64_t> numbers;
  numbers.reserve(blocks_.size());
  for (const auto& [number, block] : blocks_) numbers.push_back(number);
  std::ranges::sort(numbers);
  for (const std::uint64_t number : numbers) visit(Pfn(number * kPagesPerBlock), blocks_[number]);
}

}  // namespace bulkhead::host
