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

bool is_block_length(std::uint64_t units) {
  return units == 1 || units == 2 || units == 4;
}

}  // namespace

// A commit that ends moves pending to lasting and then clears it: looked at in this order, what is
// in either is seen.
std::uint64_t SlotMap::Word::used() const {
  const std::uint64_t under_way = pending.load(std::memory_order_acquire);
  return under_way | lasting.load(std::memory_order_relaxed) | now.load(std::memory_order_relaxed);
}

SlotMap::SlotMap(std::uint64_t units, std::uint64_t reserved) {
  CHECK(reserved <= units && reserved <= kWordUnits);
  extend(units);
  next_ = 0;
  word_at(0).now = (std::uint64_t{1} << reserved) - 1;
}

std::uint64_t SlotMap::mask_of(Slot slot) {
  return ((std::uint64_t{1} << slot.units) - 1) << slot.first.value() % kWordUnits;
}

std::size_t SlotMap::chunk_of(std::uint64_t word) {
  return static_cast<std::size_t>(std::bit_width(word >> kFirstChunkBits));
}

std::uint64_t SlotMap::first_of(std::size_t chunk) {
  return chunk == 0 ? 0 : std::uint64_t{1} << (kFirstChunkBits + chunk - 1);
}

SlotMap::Word& SlotMap::word_at(std::uint64_t index) const {
  const std::size_t chunk = chunk_of(index);
  return chunks_[chunk][index - first_of(chunk)];
}

std::optional<SlotIndex> SlotMap::allocate_in(std::uint64_t index, std::uint64_t units) {
  Word& word = word_at(index);
  std::uint64_t now = word.now.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t starts = starts_of_runs(~(now | word.used()), units);
    if (starts == 0) return std::nullopt;
    const auto bit = static_cast<std::uint64_t>(std::countr_zero(starts));
    const Slot slot{SlotIndex(index * kWordUnits + bit), units};
    if (word.now.compare_exchange_weak(now, now | mask_of(slot), std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      return slot.first;
    }
  }
}

std::optional<SlotIndex> SlotMap::allocate(std::uint64_t units, std::uint64_t max_words) {
  CHECK(is_block_length(units));
  std::atomic<std::uint64_t>& home = homes_[lane_of_thread()].word;
  if (const auto slot = allocate_in(home.load(std::memory_order_relaxed), units)) return slot;
  const std::uint64_t tries = std::min(max_words, word_count());
  for (std::uint64_t i = 0; i < tries; ++i) {
    const std::uint64_t word = next_.fetch_add(1, std::memory_order_relaxed) % word_count();
    if (const auto slot = allocate_in(word, units)) {
      home.store(word, std::memory_order_relaxed);
      return slot;
    }
  }
  return std::nullopt;
}

std::optional<SlotIndex> SlotMap::allocate_anywhere(std::uint64_t units) {
  CHECK(is_block_length(units));
  const std::uint64_t count = word_count();
  const std::uint64_t first = next_.load(std::memory_order_relaxed);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t word = (first + i) % count;
    if (const auto slot = allocate_in(word, units)) {
      next_.store(word, std::memory_order_relaxed);
      return slot;
    }
  }
  return std::nullopt;
}

void SlotMap::release(Slot slot) {
  std::atomic<std::uint64_t>& now = word_at(slot.first.value() / kWordUnits).now;
  const std::uint64_t before = now.fetch_and(~mask_of(slot), std::memory_order_release);
  CHECK((before & mask_of(slot)) == mask_of(slot));
}

void SlotMap::rewind() {
  next_.store(0, std::memory_order_relaxed);
}

Result<void> SlotMap::mark(Slot slot) {
  CHECK(is_block_length(slot.units));
  if (!range_fits(slot.first.value(), slot.units, units()) ||
      slot.first.value() % slot.units != 0) {
    return Error{Errc::kMalformed, 0, "the store names a block outside of itself"};
  }
  std::atomic<std::uint64_t>& now = word_at(slot.first.value() / kWordUnits).now;
  if ((now.load() & mask_of(slot)) != 0) {
    return Error{Errc::kMalformed, 0, "the store names one block twice"};
  }
  now |= mask_of(slot);
  return {};
}

void SlotMap::extend(std::uint64_t units) {
  const std::uint64_t words = units / kWordUnits;
  const std::uint64_t before = word_count();
  if (words <= before) return;
  for (std::size_t chunk = 0; chunk <= chunk_of(words - 1); ++chunk) {
    if (chunks_[chunk] != nullptr) continue;
    const std::uint64_t length = first_of(chunk + 1) - first_of(chunk);
    chunks_[chunk] = std::make_unique<Word[]>(length);
  }
  word_count_.store(words, std::memory_order_release);
  // The next search begins in the new part, which is free.
  next_.store(before, std::memory_order_relaxed);
}

void SlotMap::begin_commit() {
  for (std::uint64_t i = 0; i < word_count(); ++i) {
    Word& word = word_at(i);
    word.pending.store(word.now.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

void SlotMap::end_commit() {
  for (std::uint64_t i = 0; i < word_count(); ++i) {
    Word& word = word_at(i);
    word.lasting.store(word.pending.load(std::memory_order_relaxed), std::memory_order_relaxed);
    word.pending.store(0, std::memory_order_release);
  }
}

std::uint64_t SlotMap::used_units() const {
  std::uint64_t used = 0;
  for (std::uint64_t i = 0; i < word_count(); ++i) {
    used += static_cast<std::uint64_t>(std::popcount(word_at(i).now.load()));
  }
  return used;
}

std::uint64_t SlotMap::end_unit() const {
  for (std::uint64_t i = word_count(); i-- > 0;) {
    const std::uint64_t now = word_at(i).now.load();
    if (now != 0) return (i + 1) * kWordUnits - static_cast<std::uint64_t>(std::countl_zero(now));
  }
  return 0;
}

void SlotMap::for_each_free(const std::function<void(Slot)>& visit) const {
  for (std::uint64_t i = 0; i < word_count(); ++i) {
    const std::uint64_t used = word_at(i).used();
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
