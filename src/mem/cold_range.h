// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/thread_annotations.h"
#include "mem/page_states.h"
#include "mem/page_vault.h"
#include "mem/userfault.h"

namespace bulkhead {

// Guest RAM that cold memory may manage: a shared mapping of a part of a memory file, 4 KiB pages.
// Nobody else maps that part.
struct ColdExtent {
  Hva host;
  std::uint64_t size_bytes = 0;
  int file = -1;  // a copy of the descriptor is kept
  std::uint64_t file_offset = 0;
  PageIndex first;  // guest-physical address / 4 KiB
};

// The pages of one extent, by their number in it: what is known of them, and how they come and go.
class ColdRange {
 public:
  // More pages than that move in one step nowhere.
  static constexpr std::uint64_t kMaxRun = 16;

  static Result<std::shared_ptr<ColdRange>> create(const ColdExtent& extent);
  ColdRange(const ColdExtent& extent, Fd file);

  PageIndex first() const { return first_; }
  std::uint64_t count() const { return count_; }
  PageIndex index(std::uint64_t page) const { return first_ + page; }
  HostRun host(std::uint64_t page, std::uint64_t count = 1) const {
    return {host_ + page * kPageSize, count * kPageSize};
  }
  // Its beginning, as the kind of address that is asked with.
  Hva start(Hva) const { return host_; }
  PageIndex start(PageIndex) const { return first_; }
  HostRun whole() const { return host(0, count_); }
  bool contains(Hva address) const { return address - host_ < count_ * kPageSize; }
  bool contains(PageIndex page) const { return page - first_ < count_; }
  std::uint64_t page_at(Hva address) const { return (address - host_) / kPageSize; }

  PageStates& states() { return states_; }

  // Makes everything dirty that the file has. Returns how many pages that are.
  Result<std::uint64_t> adopt();
  // Takes the pages out of all page tables, KVM's too; the file keeps them.
  Result<void> unmap(std::uint64_t page, std::uint64_t count) const;
  Result<void> read(std::uint64_t page, std::span<std::byte> to) const;
  Result<void> overwrite(std::uint64_t page, ConstPageBytes with) const;
  // Overwrites the pages with zeroes, since the host does not when it frees a page, and frees them.
  // The content is lost even if freeing fails. At most kMaxRun.
  Result<void> erase(std::uint64_t page, std::uint64_t count) const;
  // When all pages are sealed: frees what huge pages have kept of them, which are zeroes.
  Result<void> free_leftovers() const;
  // Whoever touches the pages gets SIGSEGV or EFAULT, for ever.
  void forbid(std::uint64_t page, std::uint64_t count) const;

  // Threads that use the range now; remove() of the list waits until there are none.
  void enter() { users_.fetch_add(1); }
  void leave() {
    if (users_.fetch_sub(1) == 1) users_.notify_all();
  }
  void wait_until_unused() const {
    for (std::uint32_t users = users_.load(); users != 0; users = users_.load()) users_.wait(users);
  }

 private:
  off_t offset(std::uint64_t page) const {
    return static_cast<off_t>(file_offset_ + page * kPageSize);
  }

  Hva host_;
  std::uint64_t count_;
  Fd file_;
  std::uint64_t file_offset_;
  PageIndex first_;
  PageStates states_;
  std::atomic<std::uint32_t> users_ = 0;
};

// The pages that a piece of guest memory lies in.
HostRun whole_pages(const iovec& piece);

// Keeps a range from going away while a thread works on it.
class ColdRangeUse {
 public:
  ColdRangeUse() = default;
  explicit ColdRangeUse(std::shared_ptr<ColdRange> range) : range_(std::move(range)) {}
  ColdRangeUse(ColdRangeUse&&) noexcept = default;
  ColdRangeUse& operator=(ColdRangeUse&&) = delete;
  ~ColdRangeUse() {
    if (range_ != nullptr) range_->leave();
  }
  explicit operator bool() const { return range_ != nullptr; }
  ColdRange* operator->() const { return range_.get(); }
  ColdRange& operator*() const { return *range_; }

 private:
  std::shared_ptr<ColdRange>
      range_;  // shared with the list, which may drop it before this use ends
};

// The ranges by guest page. Its lock is held for look-ups alone, and whoever holds it never touches
// guest memory: threads that serve faults need it.
class ColdRanges {
 public:
  // Whether its pages and host addresses are free; then it can be added.
  Result<void> check_free(const ColdRange& range) const;
  void add(std::shared_ptr<ColdRange> range);
  // Takes out the range that begins with this page, and waits until nobody uses it.
  std::shared_ptr<ColdRange> remove(PageIndex first);

  ColdRangeUse find(Hva address) const;
  // The range that has this page or, without one, the next above it.
  ColdRangeUse at_or_above(PageIndex page) const;
  ColdRangeUse at_or_above(Hva address) const;

  // Calls `act(range, first, count)` for each part of the run that is managed, in order, until it
  // returns false.
  template <class Act>
  void for_each_part(PageRun run, Act act) const {
    for_each_part(run.first, run.first + run.count, 1, act);
  }
  template <class Act>
  void for_each_part(HostRun run, Act act) const {
    for_each_part(run.start, run.start + run.size_bytes, kPageSize, act);
  }
  std::vector<std::shared_ptr<ColdRange>> all() const;

 private:
  template <class Key, class Act>
  void for_each_part(Key at, Key end, std::uint64_t unit, Act act) const {
    while (at < end) {
      const ColdRangeUse range = at_or_above(at);
      if (!range) return;
      const Key start = range->start(at);
      at = std::max(at, start);
      if (at >= end) return;
      const std::uint64_t first = (at - start) / unit;
      const std::uint64_t count = std::min((end - at) / unit, range->count() - first);
      if (!act(*range, first, count)) return;
      at = at + count * unit;
    }
  }

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<ColdRange>> ranges_ GUARDED_BY(mutex_);   // by guest page
  std::vector<std::shared_ptr<ColdRange>> by_host_ GUARDED_BY(mutex_);  // by host address
};

}  // namespace bulkhead
