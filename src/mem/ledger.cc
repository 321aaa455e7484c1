// SPDX-License-Identifier: Apache-2.0
#include "mem/ledger.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bulkhead {

using ledger::Frame;

namespace {

constexpr std::uint64_t kGrowthFrames = kGrowthUnit / kFrameSize;

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

std::array<std::uint64_t, ledger::kNameWords> name_words(std::string_view name) {
  std::array<std::uint64_t, ledger::kNameWords> words{};
  std::memcpy(words.data(), name.data(), name.size());
  return words;
}

Result<std::uint64_t> total_frames(std::span<const PoolSetup> pools) {
  if (pools.empty() || pools.size() > ledger::kMaxPools) {
    return Error{Errc::kInvalidArgument, 0, "a ledger has 1 to 16 pools"};
  }
  std::uint64_t total = 0;
  for (const PoolSetup& pool : pools) {
    if (pool.frames == 0 || pool.frames > ledger::kMaxFrames - total) {
      return Error{Errc::kInvalidArgument, 0, "the pools have no frames, or more than 4194304"};
    }
    total += pool.frames;
  }
  return total;
}

void store_pool(LedgerStorage& storage, std::size_t at, const PoolSetup& pool,
                std::uint64_t first) {
  const std::uint32_t node =
      pool.numa_node ? static_cast<std::uint32_t>(*pool.numa_node) : ledger::kNoNode;
  storage.store(at, ledger::join(static_cast<std::uint32_t>(pool.backing), node));
  storage.store(at + 1, first);
  storage.store(at + 2, pool.frames);
  storage.store(at + 3, pool.physical_base);
  // Short runs, so that scrubbing them has many ends at which something else may come first.
  for (std::uint64_t i = 0; pool.unscrubbed && i < pool.frames; ++i) {
    const Frame frame{.state = FrameState::kScrubbing, .head = i % kGrowthFrames == 0};
    storage.store(ledger::frame_word(FrameIndex(first + i)), frame.encode());
  }
}

}  // namespace

// The magic is stored last: a ledger that was not finished is none.
Result<Ledger> Ledger::format(LedgerStorage& storage, std::span<const PoolSetup> pools) {
  const std::uint64_t frames = TRY(total_frames(pools));
  if (storage.words().size() != ledger::words_for(frames)) {
    return Error{Errc::kInvalidArgument, 0, "the ledger's storage has another size"};
  }
  storage.store(ledger::kVersionWord, ledger::join(ledger::kVersion, 0));
  storage.store(ledger::kFramesWord, frames);
  storage.store(ledger::kPoolsWord, pools.size());
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    store_pool(storage, ledger::kPoolTable + i * ledger::kPoolWords, pools[i], first);
    first += pools[i].frames;
  }
  storage.store(0, ledger::kMagic);
  TRY(validate_ledger(storage.words(), LedgerRule::kSettled));
  return Ledger(storage);
}

Result<Ledger> Ledger::open(LedgerStorage& storage) {
  TRY(validate_ledger(storage.words(), LedgerRule::kRecoverable));
  if ((ledger::high_half(storage.words()[ledger::kVersionWord]) & ledger::kFlagFiltered) != 0) {
    return Error{Errc::kMalformed, 0, "this is a filtered copy of a ledger"};
  }
  Ledger opened(storage);
  opened.recover();
  return opened;
}

Result<PartitionId> Ledger::create_partition(const PartitionSetup& setup) {
  if (!ledger::is_partition_name(setup.name) || setup.pid == 0) {
    return Error{Errc::kInvalidArgument, 0, "a partition needs a process, and a name of letters"};
  }
  for (std::size_t slot = 0; slot < ledger::kMaxPartitions; ++slot) {
    const std::size_t at = ledger::partition_word(slot);
    if (ledger::slot_state(words()[at]) != SlotState::kEmpty) continue;
    const std::uint32_t generation = ledger::high_half(words()[at]) + 1;
    storage_->store(at, ledger::slot_word(SlotState::kCreating, generation));
    for (std::size_t i = 1; i < ledger::kPartitionWords; ++i) storage_->store(at + i, 0);
    storage_->store(at + 1, ledger::join(setup.uid, setup.pid));
    storage_->store(at + 2, setup.start_time);
    const auto name = name_words(setup.name);
    for (std::size_t i = 0; i < name.size(); ++i) {
      storage_->store(at + ledger::kNameWord + i, name[i]);
    }
    storage_->store(at, ledger::slot_word(SlotState::kLive, generation));
    return PartitionId{static_cast<std::uint16_t>(slot), generation};
  }
  return Error{Errc::kExhausted, 0, "there are 1024 partitions already"};
}

Result<void> Ledger::release_all(PartitionId partition) {
  const std::uint16_t slot = TRY(live_slot(partition));
  storage_->store(ledger::partition_word(slot),
                  ledger::slot_word(SlotState::kDying, partition.generation));
  end_partition(slot);
  return {};
}

// The head is stored last: until then the rest is an orphan, which open() gives to scrubbing.
Result<FrameRun> Ledger::take(PartitionId partition, std::size_t pool, std::uint64_t frames) {
  const std::uint16_t slot = TRY(live_slot(partition));
  const FrameRun run = TRY(find_free(TRY(pool_run(pool)), frames));
  for (std::uint64_t i = run.frames; i-- > 0;) {
    store(run.first + i, {.state = FrameState::kOwned,
                          .head = i == 0,
                          .owner = slot,
                          .guest_frame = ledger::kNotPlaced});
  }
  return run;
}

// First fit. Without one, what is above a growth unit may be cut to the longest that there is.
Result<FrameRun> Ledger::find_free(FrameRun pool, std::uint64_t frames) const {
  if (frames == 0) return Error{Errc::kInvalidArgument, 0, "no frames were asked for"};
  FrameRun best;
  FrameRun run{pool.first, 0};
  for (std::uint64_t i = 0; i < pool.frames && best.frames < frames; ++i) {
    if (frame(pool.first + i).state != FrameState::kFree) {
      run = {pool.first + i + 1, 0};
    } else if (++run.frames > best.frames) {
      best = run;
    }
  }
  if (best.frames < frames) best.frames = align_down(best.frames, kGrowthFrames);
  if (best.frames == 0 || (best.frames < frames && frames <= kGrowthFrames)) {
    return Error{Errc::kExhausted, 0, "the pool has no such run of free frames"};
  }
  return best;
}

Result<void> Ledger::place(PartitionId partition, FrameRun run, GuestFrame first) {
  const std::uint16_t slot = TRY(live_slot(partition));
  TRY(all_in_state(slot, run, FrameState::kOwned));
  if (!range_fits(first.value(), run.frames, ledger::kMaxGuestFrames)) {
    return Error{Errc::kOutOfRange, 0, "no partition has memory at that address"};
  }
  TRY(not_placed_yet(slot, run, first));
  for (std::uint64_t i = 0; i < run.frames; ++i) {
    Frame changed = frame(run.first + i);
    changed.guest_frame = static_cast<std::uint32_t>(first.value() + i);
    store(run.first + i, changed);
  }
  return {};
}

Result<void> Ledger::not_placed_yet(std::uint16_t slot, FrameRun run, GuestFrame first) const {
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame other = frame(FrameIndex(i));
    if (!other.held() || other.owner != slot || other.guest_frame == ledger::kNotPlaced) continue;
    if (range_fits(i - run.first.value(), 1, run.frames) && i >= run.first.value()) {
      return refused("a frame has a place already");
    }
    if (other.guest_frame >= first.value() && other.guest_frame < first.value() + run.frames) {
      return refused("another frame has that place");
    }
  }
  return {};
}

Result<void> Ledger::release(PartitionId partition, FrameRun extent) {
  TRY(live_slot(partition));
  if (!is_extent(partition, extent)) return refused("that is no extent of this partition");
  for (std::uint64_t i = 0; i < extent.frames; ++i) {
    if (frame(extent.first + i).state == FrameState::kShared) {
      return refused("the extent is shared: revoke the grants first");
    }
  }
  store_run(extent, FrameState::kScrubbing);
  return {};
}

// Ascending: what is left of it begins behind a frame that is scrubbing.
void Ledger::store_run(FrameRun run, FrameState state) {
  for (std::uint64_t i = 0; i < run.frames; ++i) store(run.first + i, {state, i == 0, 0, 0});
}

// Descending: what is left of it still has its head.
void Ledger::clear_run(FrameRun run) {
  for (std::uint64_t i = run.frames; i-- > 0;) store(run.first + i, {});
}

Result<void> Ledger::scrubbed(FrameRun run) {
  const bool exists = run.frames != 0 && range_fits(run.first.value(), run.frames, frames());
  if (!exists || frame(run.first).state != FrameState::kScrubbing || !frame(run.first).head ||
      !(extent_at(run.first) == run)) {
    return refused("that is no run that waits to be scrubbed");
  }
  clear_run(run);
  return {};
}

Result<void> Ledger::seal(PartitionId partition, FrameRun run) {
  return change_state(partition, run, FrameState::kOwned, FrameState::kSealed);
}

Result<void> Ledger::unseal(PartitionId partition, FrameRun run) {
  return change_state(partition, run, FrameState::kSealed, FrameState::kOwned);
}

Result<void> Ledger::change_state(PartitionId partition, FrameRun run, FrameState from,
                                  FrameState to) {
  TRY(all_in_state(TRY(live_slot(partition)), run, from));
  for (std::uint64_t i = 0; i < run.frames; ++i) {
    Frame changed = frame(run.first + i);
    changed.state = to;
    store(run.first + i, changed);
  }
  return {};
}

Result<std::uint16_t> Ledger::live_slot(PartitionId partition) const {
  if (!is_live(partition)) return Error{Errc::kNotFound, 0, "there is no such partition"};
  return partition.slot;
}

Result<FrameRun> Ledger::pool_run(std::size_t pool) const {
  if (pool >= words()[ledger::kPoolsWord]) return Error{Errc::kNotFound, 0, "no such pool"};
  const std::uint64_t* word = &words()[ledger::kPoolTable + pool * ledger::kPoolWords];
  return FrameRun{FrameIndex(word[1]), word[2]};
}

Result<void> Ledger::all_in_state(std::uint16_t slot, FrameRun run, FrameState state) const {
  if (run.frames == 0 || !range_fits(run.first.value(), run.frames, frames())) {
    return Error{Errc::kOutOfRange, 0, "there are no such frames"};
  }
  for (std::uint64_t i = 0; i < run.frames; ++i) {
    const Frame found = frame(run.first + i);
    if (!found.held() || found.owner != slot) return refused("a frame is not this partition's");
    if (found.state != state) return refused("a frame is not in the state that this needs");
  }
  return {};
}

bool Ledger::is_live(PartitionId partition) const {
  return partition.slot < ledger::kMaxPartitions &&
         words()[ledger::partition_word(partition.slot)] ==
             ledger::slot_word(SlotState::kLive, partition.generation);
}

PartitionId Ledger::id_of(std::uint16_t slot) const {
  CHECK(slot < ledger::kMaxPartitions);
  return {slot, ledger::high_half(words()[ledger::partition_word(slot)])};
}

bool Ledger::is_extent(PartitionId partition, FrameRun run) const {
  if (!is_live(partition) || run.frames == 0) return false;
  if (!range_fits(run.first.value(), run.frames, frames())) return false;
  const Frame head = frame(run.first);
  return head.held() && head.head && head.owner == partition.slot && extent_at(run.first) == run;
}

// From a head on, as far as it goes.
FrameRun Ledger::extent_at(FrameIndex head) const {
  const Frame first = frame(head);
  FrameRun run{head, 1};
  while (run.end().value() < frames()) {
    const Frame next = frame(run.end());
    if (next.head || next.held() != first.held() || next.owner != first.owner) break;
    if (!next.held() && next.state != first.state) break;
    ++run.frames;
  }
  return run;
}

std::vector<FrameRun> Ledger::extents_of(PartitionId partition) const {
  std::vector<FrameRun> runs;
  if (!is_live(partition)) return runs;
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame found = frame(FrameIndex(i));
    if (found.held() && found.head && found.owner == partition.slot) {
      runs.push_back(extent_at(FrameIndex(i)));
    }
  }
  return runs;
}

std::vector<FrameRun> Ledger::scrubbing() const {
  std::vector<FrameRun> runs;
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame found = frame(FrameIndex(i));
    if (found.state == FrameState::kScrubbing && found.head)
      runs.push_back(extent_at(FrameIndex(i)));
  }
  return runs;
}

std::vector<std::uint64_t> Ledger::frames_by_slot() const {
  std::vector<std::uint64_t> counts(ledger::kMaxPartitions);
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame found = frame(FrameIndex(i));
    if (found.held()) ++counts[found.owner];
  }
  return counts;
}

std::uint64_t Ledger::free_frames(std::size_t pool) const {
  const FrameRun run = pool_run(pool).value_or(FrameRun{});
  std::uint64_t count = 0;
  for (std::uint64_t i = 0; i < run.frames; ++i) {
    if (frame(run.first + i).state == FrameState::kFree) ++count;
  }
  return count;
}

LedgerView Ledger::view() const {
  return LedgerView(words());
}

}  // namespace bulkhead
