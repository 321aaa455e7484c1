// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "mem/frame_pool.h"
#include "mem/ledger.h"

namespace bulkhead::daemon {

struct TakeRequest {
  std::uint64_t frames = 0;
  Backing backing = Backing::kMemfd;
  std::optional<unsigned> numa_node = std::nullopt;
};

// Keeps the ledger and the pools in step. The order is what makes a kill at any moment harmless:
//   take     the ledger says "owned", then the file is made, then the owner hears of it;
//   release  the ledger says "scrubbing", then the file is scrubbed and removed, then it says
//   "free".
// So every file belongs to frames that are not free, and after a restart reconcile() finds what
// is missing to the other side.
class FrameKeeper {
 public:
  enum class Scrub : std::uint8_t { kIdle, kMore, kBlocked };

  // The pools are the ledger's, in its order. Takes back what has an owner but no file. kBusy when
  // a file is in use that belongs to no extent.
  static Result<std::unique_ptr<FrameKeeper>> create(std::unique_ptr<LedgerStorage> storage,
                                                     Ledger ledger,
                                                     std::vector<std::unique_ptr<FramePool>> pools,
                                                     std::uint64_t per_user_frames);

  // The partition of that process: a new one, or, after a restart, the one it has. `held` is what
  // it knows to have; the rest of what the ledger says it has is taken back.
  Result<PartitionId> enter(const PartitionSetup& setup, std::span<const FrameRun> held);
  // The extent's numbers are the ledger's; its file is for the owner.
  Result<Extent> take(PartitionId partition, const TakeRequest& request);
  Result<void> give_back(PartitionId partition, FrameRun run);
  // Its process is dead.
  void end_partition(PartitionId partition);

  // Scrubs one run, which takes as long as writing it does. kBlocked: what is left is still mapped
  // by somebody, or could not be scrubbed; try again later.
  Scrub scrub_one();

  Ledger& ledger() { return ledger_; }
  std::span<const std::unique_ptr<FramePool>> pools() const { return pools_; }

 private:
  struct Place {
    std::size_t pool = 0;
    FrameRun run;  // in the pool
  };

  FrameKeeper(std::unique_ptr<LedgerStorage> storage, Ledger ledger,
              std::vector<std::unique_ptr<FramePool>> pools, std::uint64_t per_user_frames);

  Result<void> reconcile();
  Result<void> release_without_file(std::size_t pool, std::span<const FrameRun> files);
  Result<void> remove_strays(std::size_t pool, std::span<const FrameRun> files);
  Result<void> remove_stray(std::size_t pool, FrameRun run);
  bool all_free(FrameRun run) const;

  std::optional<PartitionId> partition_of(const PartitionSetup& setup) const;
  Result<void> check_quota(PartitionId partition, std::uint64_t frames) const;
  Result<Extent> take_anywhere(PartitionId partition, const TakeRequest& request);
  Result<Extent> take_from(std::size_t pool, PartitionId partition, std::uint64_t frames);
  Result<Extent> open_new(const Place& place);
  void queue_scrubbing();
  Result<bool> try_scrub(FrameRun run);
  Place place_of(FrameRun run) const;
  FrameRun in_ledger(std::size_t pool, FrameRun run) const;

  std::unique_ptr<LedgerStorage> storage_;
  Ledger ledger_;
  std::vector<std::unique_ptr<FramePool>> pools_;
  std::vector<PoolRecord> records_;
  std::uint64_t per_user_frames_;
  std::deque<FrameRun> dirty_;    // to scrub
  std::deque<FrameRun> blocked_;  // tried, to try again
};

}  // namespace bulkhead::daemon
