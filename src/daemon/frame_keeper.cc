// SPDX-License-Identifier: Apache-2.0
#include "daemon/frame_keeper.h"

#include <algorithm>

#include "base/log.h"
#include "mem/daemon_protocol.h"

namespace bulkhead::daemon {

FrameKeeper::FrameKeeper(std::unique_ptr<LedgerStorage> storage, Ledger ledger,
                         std::vector<std::unique_ptr<FramePool>> pools,
                         std::uint64_t per_user_frames)
    : storage_(std::move(storage)),
      ledger_(ledger),
      pools_(std::move(pools)),
      records_(ledger_.pools()),
      per_user_frames_(per_user_frames) {}

Result<std::unique_ptr<FrameKeeper>> FrameKeeper::create(
    std::unique_ptr<LedgerStorage> storage, Ledger ledger,
    std::vector<std::unique_ptr<FramePool>> pools, std::uint64_t per_user_frames) {
  CHECK(ledger.pools().size() == pools.size());
  std::unique_ptr<FrameKeeper> keeper(
      new FrameKeeper(std::move(storage), ledger, std::move(pools), per_user_frames));
  TRY(keeper->reconcile());
  keeper->queue_scrubbing();
  return keeper;
}

FrameKeeper::Place FrameKeeper::place_of(FrameRun run) const {
  std::size_t pool = 0;
  while (run.first.value() >= records_[pool].run.end().value()) ++pool;
  return {pool, {FrameIndex(run.first - records_[pool].run.first), run.frames}};
}

FrameRun FrameKeeper::in_ledger(std::size_t pool, FrameRun run) const {
  return {records_[pool].run.first + run.first.value(), run.frames};
}

Result<void> FrameKeeper::reconcile() {
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (pools_[i]->backing() == Backing::kCarved) continue;
    const std::vector<FrameRun> files = TRY(pools_[i]->existing());
    TRY(release_without_file(i, files));
    TRY(remove_strays(i, files));
  }
  return {};
}

// An extent without a file never reached its owner.
Result<void> FrameKeeper::release_without_file(std::size_t pool, std::span<const FrameRun> files) {
  for (const HeldRun& extent : ledger_.view().extents()) {
    const Place place = place_of(extent.run);
    if (place.pool != pool) continue;
    if (std::find(files.begin(), files.end(), place.run) != files.end()) continue;
    TRY(ledger_.release(ledger_.id_of(extent.owner), extent.run));
  }
  return {};
}

// A file is an extent's, or waits for scrubbing as one run, or is a stray.
Result<void> FrameKeeper::remove_strays(std::size_t pool, std::span<const FrameRun> files) {
  std::vector<FrameRun> known = ledger_.scrubbing();
  for (const HeldRun& extent : ledger_.view().extents()) known.push_back(extent.run);
  for (const FrameRun& file : files) {
    const FrameRun run = in_ledger(pool, file);
    if (std::find(known.begin(), known.end(), run) == known.end()) TRY(remove_stray(pool, file));
  }
  return {};
}

// Of a ledger that was lost: the file's owner is gone, or this cannot go on.
Result<void> FrameKeeper::remove_stray(std::size_t pool, FrameRun run) {
  if (!all_free(in_ledger(pool, run))) {
    return Error{Errc::kMalformed, 0, "a pool has a file that contradicts the ledger"};
  }
  if (TRY(pools_[pool]->held(run))) {
    return Error{Errc::kBusy, 0,
                 "a process uses frames of a pool that the ledger does not know: end it first"};
  }
  TRY(pools_[pool]->scrub(run));
  return pools_[pool]->remove(run);
}

bool FrameKeeper::all_free(FrameRun run) const {
  const auto words = ledger_.words().subspan(ledger::frame_word(run.first), run.frames);
  return std::all_of(words.begin(), words.end(), [](std::uint64_t word) { return word == 0; });
}

std::optional<PartitionId> FrameKeeper::partition_of(const PartitionSetup& setup) const {
  for (const PartitionRecord& known : ledger_.view().partitions()) {
    if (known.pid == setup.pid && known.start_time == setup.start_time) return known.id;
  }
  return std::nullopt;
}

Result<PartitionId> FrameKeeper::enter(const PartitionSetup& setup,
                                       std::span<const FrameRun> held) {
  const std::optional<PartitionId> known = partition_of(setup);
  if (!known) {
    if (held.empty()) return ledger_.create_partition(setup);
    return Error{Errc::kPermission, 0, "this process has no frames"};
  }
  std::vector<FrameRun> unknown = ledger_.extents_of(*known);
  for (const FrameRun& run : held) {
    if (std::erase(unknown, run) == 0) {
      return Error{Errc::kPermission, 0, "the process names frames that are not its own"};
    }
  }
  for (const FrameRun& run : unknown) TRY(give_back(*known, run));
  return *known;
}

Result<void> FrameKeeper::check_quota(PartitionId partition, std::uint64_t frames) const {
  const std::vector<PartitionRecord> partitions = ledger_.view().partitions();
  const std::vector<std::uint64_t> counts = ledger_.frames_by_slot();
  const auto self = std::find_if(partitions.begin(), partitions.end(),
                                 [&](const auto& record) { return record.id == partition; });
  if (self == partitions.end()) return Error{Errc::kNotFound, 0, "no such partition"};
  std::uint64_t used = 0;
  for (const PartitionRecord& record : partitions) {
    if (record.uid == self->uid) used += counts[record.id.slot];
  }
  if (used <= per_user_frames_ && frames <= per_user_frames_ - used) return {};
  return Error{Errc::kExhausted, 0, "this user's share of the host's frames is used up"};
}

Result<Extent> FrameKeeper::take(PartitionId partition, const TakeRequest& request) {
  if (request.frames == 0) return Error{Errc::kInvalidArgument, 0, "no frames were asked for"};
  TRY(check_quota(partition, request.frames));
  if (ledger_.extents_of(partition).size() >= kMaxExtents) {
    return Error{Errc::kExhausted, 0, "the partition holds 4096 extents already"};
  }
  Result<Extent> extent = take_anywhere(partition, request);
  if (extent || extent.error().code != Errc::kExhausted || dirty_.empty()) return extent;
  while (scrub_one() == Scrub::kMore) {
  }
  return take_anywhere(partition, request);
}

Result<Extent> FrameKeeper::take_anywhere(PartitionId partition, const TakeRequest& request) {
  Error reason{Errc::kNotFound, 0, "there is no pool of this kind and node"};
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (pools_[i]->backing() != request.backing) continue;
    if (request.numa_node && pools_[i]->numa_node() != request.numa_node) continue;
    Result<Extent> extent = take_from(i, partition, request.frames);
    if (extent) return extent;
    reason = extent.error();
  }
  return reason;
}

Result<Extent> FrameKeeper::take_from(std::size_t pool, PartitionId partition,
                                      std::uint64_t frames) {
  const FrameRun run = TRY(ledger_.take(partition, pool, frames));
  Result<Extent> extent = open_new(place_of(run));
  if (!extent) {
    TRY(give_back(partition, run));
    return extent;
  }
  extent->first = run.first;
  return extent;
}

// Carved memory has no files that would tell a new daemon what is zero: it writes it once more.
Result<Extent> FrameKeeper::open_new(const Place& place) {
  FramePool& pool = *pools_[place.pool];
  Result<Extent> extent = pool.open_extent(place.run, FramePool::Open::kNew);
  if (extent || extent.error().code != Errc::kExists || !pool.starts_unscrubbed()) return extent;
  TRY(pool.scrub(place.run));
  return pool.open_extent(place.run, FramePool::Open::kNew);
}

Result<void> FrameKeeper::give_back(PartitionId partition, FrameRun run) {
  TRY(ledger_.release(partition, run));
  dirty_.push_back(run);
  return {};
}

void FrameKeeper::end_partition(PartitionId partition) {
  const std::vector<FrameRun> runs = ledger_.extents_of(partition);
  if (!ledger_.release_all(partition)) return;
  dirty_.insert(dirty_.end(), runs.begin(), runs.end());
}

void FrameKeeper::queue_scrubbing() {
  const std::vector<FrameRun> runs = ledger_.scrubbing();
  dirty_.assign(runs.begin(), runs.end());
}

FrameKeeper::Scrub FrameKeeper::scrub_one() {
  if (dirty_.empty()) dirty_.swap(blocked_);
  if (dirty_.empty()) return Scrub::kIdle;
  const FrameRun run = dirty_.front();
  dirty_.pop_front();
  const Result<bool> done = try_scrub(run);
  if (!done) {
    log_failure("frames-not-scrubbed", done.error(),
                {{"first", run.first.value()}, {"frames", run.frames}});
  }
  if (!done || !*done) blocked_.push_back(run);
  if (!dirty_.empty()) return Scrub::kMore;
  return blocked_.empty() ? Scrub::kIdle : Scrub::kBlocked;
}

// False while somebody has it mapped, who could still write into it, or read what comes after.
Result<bool> FrameKeeper::try_scrub(FrameRun run) {
  const Place place = place_of(run);
  FramePool& pool = *pools_[place.pool];
  const Result<bool> held = pool.held(place.run);
  if (held && *held) return false;
  // No file: it was removed before the ledger heard of it, or never made.
  const bool nothing = !held && held.error().code == Errc::kNotFound;
  if (!held && !nothing && held.error().code != Errc::kUnsupported) return held.error();
  if (!nothing) {
    TRY(pool.scrub(place.run));
    TRY(pool.remove(place.run));
  }
  TRY(ledger_.scrubbed(run));
  return true;
}

}  // namespace bulkhead::daemon
