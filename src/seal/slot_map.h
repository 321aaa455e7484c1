// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "seal/lane.h"
#include "seal/tree_entry.h"

namespace bulkhead {

// Which parts of a medium are in use: by the state being worked on, by the state that a power cut
// would bring back, and by a commit that is under way. Only what is free in all three is given out,
// so that a committed block is never overwritten.
//
// allocate, release, end_commit and the counts may be called from any thread at any time, extend by
// one thread at a time. The others need the map to themselves.
class SlotMap {
 public:
  // A block is 1, 2 or 4 units long, and aligned to its length.
  struct Slot {
    SlotIndex first;
    std::uint64_t units = 0;
  };

  // The first `reserved` units are never given out.
  SlotMap(std::uint64_t units, std::uint64_t reserved);

  // Looks where this thread found a place last, and then at up to `max_words` * 64 units from where
  // the last search of any thread ended.
  std::optional<SlotIndex> allocate(std::uint64_t units, std::uint64_t max_words);
  // Looks everywhere, from where the last search ended.
  std::optional<SlotIndex> allocate_anywhere(std::uint64_t units);
  void release(Slot slot);
  // The next search begins at the front.
  void rewind();
  // Enters a block that a store names: kMalformed if it is out of range, crooked, or used twice.
  Result<void> mark(Slot slot);
  void extend(std::uint64_t units);

  // The state being worked on becomes the one under way, and then the lasting one.
  void begin_commit();
  void end_commit();

  std::uint64_t units() const { return word_count() * kWordUnits; }
  std::uint64_t used_units() const;  // of the state being worked on
  std::uint64_t end_unit() const;    // behind the last used one
  // Calls for each free range of whole pages.
  void for_each_free(const std::function<void(Slot)>& visit) const;

 private:
  struct Word {
    std::atomic<std::uint64_t> now = 0;
    std::atomic<std::uint64_t> lasting = 0;
    std::atomic<std::uint64_t> pending = 0;

    std::uint64_t used() const;
  };
  // The word that the threads of a lane allocate from, so that two rarely write to the same.
  struct alignas(64) Home {
    std::atomic<std::uint64_t> word = 0;
  };
  static constexpr std::uint64_t kWordUnits = 64;
  // Words never move: chunk 0 has this many, and each other one as many as all before it.
  static constexpr unsigned kFirstChunkBits = 6;
  static constexpr std::size_t kChunks = 40;

  static std::uint64_t mask_of(Slot slot);
  static std::size_t chunk_of(std::uint64_t word);
  static std::uint64_t first_of(std::size_t chunk);
  Word& word_at(std::uint64_t index) const;
  std::uint64_t word_count() const { return word_count_.load(std::memory_order_acquire); }
  std::optional<SlotIndex> allocate_in(std::uint64_t word, std::uint64_t units);

  std::array<std::unique_ptr<Word[]>, kChunks> chunks_;
  std::atomic<std::uint64_t> word_count_ = 0;
  std::atomic<std::uint64_t> next_ = 0;  // where the next search begins, modulo the count
  std::array<Home, kLanes> homes_;
};

}  // namespace bulkhead
