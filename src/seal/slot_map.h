// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "seal/tree_entry.h"

namespace bulkhead {

// Which parts of a medium are in use: by the state being worked on, by the state that a power cut
// would bring back, and by a commit that is under way. Only what is free in all three is given out,
// so that a committed block is never overwritten. Thread-safe.
class SlotMap {
 public:
  // A block is 1, 2 or 4 units long, and aligned to its length.
  struct Slot {
    SlotIndex first;
    std::uint64_t units = 0;
  };

  // The first `reserved` units are never given out.
  SlotMap(std::uint64_t units, std::uint64_t reserved);

  // Looks at `max_words` * 64 units from where the last search ended.
  std::optional<SlotIndex> allocate(std::uint64_t units, std::uint64_t max_words);
  void release(Slot slot);
  // The next search begins at the front.
  void rewind();
  // Enters a block that a store names: kMalformed if it is out of range, crooked, or used twice.
  Result<void> mark(Slot slot);
  void extend(std::uint64_t units);

  // The state being worked on becomes the one under way, and then the lasting one.
  void begin_commit();
  void end_commit();

  std::uint64_t units();
  std::uint64_t used_units();  // of the state being worked on
  std::uint64_t end_unit();    // behind the last used one
  // Calls for each free range of whole pages.
  void for_each_free(const std::function<void(Slot)>& visit);

 private:
  struct Word {
    std::uint64_t now = 0;
    std::uint64_t lasting = 0;
    std::uint64_t pending = 0;
  };
  static constexpr std::uint64_t kWordUnits = 64;

  static std::uint64_t mask_of(Slot slot);
  std::uint64_t word_count() const REQUIRES(mutex_) { return words_.size(); }

  Mutex mutex_;
  std::vector<Word> words_ GUARDED_BY(mutex_);
  std::uint64_t cursor_ GUARDED_BY(mutex_) = 0;
};

}  // namespace bulkhead
