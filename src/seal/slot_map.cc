// SPDX-License-Identifier: Apache-2.0
#include "seal/slot_map.h"

#include <algorithm>
#include <bit>

namespace bulkhead {
namespace {

// The bits at which a free run of 1, 2 or 4 aligned units begins.
std::uint64_t starts_of_runs(std::uint64_t free, std::uint64_t units) {
  if (units >= 2) free &= free >> 1 & 0x5555555555555555;
  if (units == 4) free &= free >> 2 & 0x1111111111111111;
  return free;
}

// The map is held for some tens of nanoseconds, by every thread that seals: going to sleep over it
// would take a hundred times as long.
class SCOPED_CAPABILITY BriefLock {
 public:
  explicit BriefLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex.native()) {
    constexpr int kSpins = 500;
    for (int i = 0; i < kSpins; ++i) {
      if (mutex_.try_lock()) return;
      __builtin_ia32_pause();
    }
    mutex_.lock();
  }
  ~BriefLock() RELEASE() { mutex_.unlock(); }
  BriefLock(const BriefLock&) = delete;
  BriefLock& operator=(const BriefLock&) = delete;

 private:
  std::mutex& mutex_;
};

bool is_block_length(std::uint64_t units) {
  return units == 1 || units == 2 || units == 4;
}

}  // namespace

SlotMap::SlotMap(std::uint64_t units, std::uint64_t reserved) {
  CHECK(reserved <= units && reserved <= kWordUnits);
  extend(units);
  const MutexLock lock(mutex_);
  words_[0].now |= (std::uint64_t{1} << reserved) - 1;
}

std::uint64_t SlotMap::mask_of(Slot slot) {
  return ((std::uint64_t{1} << slot.units) - 1) << slot.first.value() % kWordUnits;
}

std::optional<SlotIndex> SlotMap::allocate(std::uint64_t units, std::uint64_t max_words) {
  CHECK(is_block_length(units));
  const BriefLock lock(mutex_);
  const std::uint64_t tries = std::min(max_words, word_count());
  for (std::uint64_t i = 0; i < tries; ++i) {
    Word& word = words_[cursor_];
    const std::uint64_t starts = starts_of_runs(~(word.now | word.lasting | word.pending), units);
    if (starts != 0) {
      const auto bit = static_cast<std::uint64_t>(std::countr_zero(starts));
      const Slot slot{SlotIndex(cursor_ * kWordUnits + bit), units};
      word.now |= mask_of(slot);
      return slot.first;
    }
    cursor_ = cursor_ + 1 < word_count() ? cursor_ + 1 : 0;
  }
  return std::nullopt;
}

void SlotMap::release(Slot slot) {
  const BriefLock lock(mutex_);
  std::uint64_t& now = words_[slot.first.value() / kWordUnits].now;
  CHECK((now & mask_of(slot)) == mask_of(slot));
  now &= ~mask_of(slot);
}

void SlotMap::rewind() {
  const MutexLock lock(mutex_);
  cursor_ = 0;
}

Result<void> SlotMap::mark(Slot slot) {
  CHECK(is_block_length(slot.units));
  const MutexLock lock(mutex_);
  if (!range_fits(slot.first.value(), slot.units, word_count() * kWordUnits) ||
      slot.first.value() % slot.units != 0) {
    return Error{Errc::kMalformed, 0, "the store names a block outside of itself"};
  }
  std::uint64_t& now = words_[slot.first.value() / kWordUnits].now;
  if ((now & mask_of(slot)) != 0) {
    return Error{Errc::kMalformed, 0, "the store names one block twice"};
  }
  now |= mask_of(slot);
  return {};
}

void SlotMap::extend(std::uint64_t units) {
  const MutexLock lock(mutex_);
  const std::uint64_t words = units / kWordUnits;
  if (words <= word_count()) return;
  // The next search begins in the new part, which is free.
  cursor_ = word_count();
  words_.resize(words);
}

void SlotMap::begin_commit() {
  const MutexLock lock(mutex_);
  for (Word& word : words_) word.pending = word.now;
}

void SlotMap::end_commit() {
  const MutexLock lock(mutex_);
  for (Word& word : words_) {
    word.lasting = word.pending;
    word.pending = 0;
  }
}

std::uint64_t SlotMap::units() {
  const MutexLock lock(mutex_);
  return word_count() * kWordUnits;
}

std::uint64_t SlotMap::used_units() {
  const MutexLock lock(mutex_);
  std::uint64_t used = 0;
  for (const Word& word : words_) used += static_cast<std::uint64_t>(std::popcount(word.now));
  return used;
}

std::uint64_t SlotMap::end_unit() {
  const MutexLock lock(mutex_);
  for (std::uint64_t i = word_count(); i-- > 0;) {
    if (words_[i].now != 0) {
      return (i + 1) * kWordUnits - static_cast<std::uint64_t>(std::countl_zero(words_[i].now));
    }
  }
  return 0;
}

void SlotMap::for_each_free(const std::function<void(Slot)>& visit) {
  const MutexLock lock(mutex_);
  for (std::uint64_t i = 0; i < word_count(); ++i) {
    const Word& word = words_[i];
    const std::uint64_t used = word.now | word.lasting | word.pending;
    if (used == 0) {
      visit({SlotIndex(i * kWordUnits), kWordUnits});
      continue;
    }
    for (std::uint64_t starts = starts_of_runs(~used, 4); starts != 0; starts &= starts - 1) {
      const auto bit = static_cast<std::uint64_t>(std::countr_zero(starts));
      visit({SlotIndex(i * kWordUnits + bit), 4});
    }
  }
}

}  // namespace bulkhead
