// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mem/ledger_format.h"
#include "mem/ledger_storage.h"
#include "mem/ledger_view.h"

namespace bulkhead {

// A pool to begin a ledger with; its frames follow those of the pool before.
struct PoolSetup {
  Backing backing = Backing::kMemfd;
  std::optional<unsigned> numa_node = std::nullopt;
  std::uint64_t frames = 0;
  std::uint64_t physical_base = 0;  // kCarved
  bool unscrubbed = false;          // begins as scrubbing, in runs of a growth unit
};

struct PartitionSetup {
  std::string_view name;
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;
  std::uint64_t start_time = 0;
};

struct GrantRequest {
  std::optional<PartitionId> grantee = std::nullopt;  // none: the host's tools
  PageRun pages;
  Rights rights = Rights::kRead;
};

// Who owns which frame. Frames go free -> owned <-> sealed, owned <-> shared, owned or sealed ->
// scrubbing -> free, and no other way: a change that breaks a rule is refused with the reason, and
// then changes nothing. Every change keeps each prefix of its stores recoverable, so a writer can
// be killed at any time and no frame is lost, leaked, or free before it was scrubbed.
//
// Not thread-safe. Borrows the storage.
class Ledger {
 public:
  // Begins a ledger in zeroed storage of the right size.
  static Result<Ledger> format(LedgerStorage& storage, std::span<const PoolSetup> pools);
  // Validates foreign bytes, refuses damaged ones, and finishes what a killed writer left
  // half-done: allocations end in scrubbing, a dying partition's frames too.
  static Result<Ledger> open(LedgerStorage& storage);

  // kExhausted when all slots are taken.
  Result<PartitionId> create_partition(const PartitionSetup& setup);
  // Ends a partition that is dead: revokes what it granted and was granted, and all its frames are
  // scrubbing. Its slot can be used again.
  Result<void> release_all(PartitionId partition);

  // A run of free frames of the pool, as one extent. Above a growth unit it may be shorter.
  Result<FrameRun> take(PartitionId partition, std::size_t pool, std::uint64_t frames);
  // Where in the partition's memory the frames are. Once for each frame.
  Result<void> place(PartitionId partition, FrameRun run, GuestFrame first);
  // A whole extent, no frame of which is shared, becomes scrubbing.
  Result<void> release(PartitionId partition, FrameRun extent);
  // The caller has overwritten the run, which is all of what was released as one: it is free.
  Result<void> scrubbed(FrameRun run);

  // For frames of one partition that are all owned, or all sealed.
  Result<void> seal(PartitionId partition, FrameRun run);
  Result<void> unseal(PartitionId partition, FrameRun run);

  // Shares pages that lie in placed frames, owned or shared already. Sealed ones are refused.
  Result<GrantId> grant(PartitionId partition, const GrantRequest& request);
  Result<void> revoke(PartitionId partition, GrantId grant);

  // Every invariant, by the bytes alone.
  Result<void> check() const { return validate_ledger(words(), LedgerRule::kSettled); }

  bool is_live(PartitionId partition) const;
  // Of a slot's present user, dead or alive.
  PartitionId id_of(std::uint16_t slot) const;
  // Whether the run is exactly one extent of the partition.
  bool is_extent(PartitionId partition, FrameRun run) const;
  std::uint64_t frames() const { return words()[ledger::kFramesWord]; }
  std::vector<PoolRecord> pools() const { return pool_records(words()); }
  // What the partition holds, ascending.
  std::vector<FrameRun> extents_of(PartitionId partition) const;
  // Runs to scrub, ascending: each as it was released.
  std::vector<FrameRun> scrubbing() const;
  // In slots' order; 0 for one that has none.
  std::vector<std::uint64_t> frames_by_slot() const;
  std::uint64_t free_frames(std::size_t pool) const;
  // Valid until the next change.
  LedgerView view() const;
  std::span<const std::uint64_t> words() const { return storage_->words(); }

 private:
  explicit Ledger(LedgerStorage& storage) : storage_(&storage) {}

  ledger::Frame frame(FrameIndex index) const {
    return ledger::Frame::decode(words()[ledger::frame_word(index)]);
  }
  void store(FrameIndex index, const ledger::Frame& frame) {
    storage_->store(ledger::frame_word(index), frame.encode());
  }
  void store_run(FrameRun run, FrameState state);
  void clear_run(FrameRun run);

  Result<std::uint16_t> live_slot(PartitionId partition) const;
  Result<FrameRun> pool_run(std::size_t pool) const;
  Result<FrameRun> find_free(FrameRun pool, std::uint64_t frames) const;
  // The run lies in the ledger, and each of its frames is the slot's, in this state.
  Result<void> all_in_state(std::uint16_t slot, FrameRun run, FrameState state) const;
  Result<void> change_state(PartitionId partition, FrameRun run, FrameState from, FrameState to);
  Result<void> not_placed_yet(std::uint16_t slot, FrameRun run, GuestFrame first) const;
  FrameRun extent_at(FrameIndex head) const;

  Result<std::size_t> free_grant(std::uint16_t slot) const;
  Result<std::vector<FrameIndex>> shareable(std::uint16_t slot, const PageRun& pages) const;
  PageRun pages_of(std::size_t grant) const;
  void drop_grant(std::size_t grant);
  // Makes owned what is shared and no longer granted.
  void settle_shared(std::uint16_t slot);
  void end_partition(std::uint16_t slot);

  void recover();
  void recover_frames();

  LedgerStorage* storage_;
};

}  // namespace bulkhead
