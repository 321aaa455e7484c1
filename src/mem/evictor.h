// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/thread.h"
#include "base/thread_annotations.h"
#include "mem/cold_core.h"
#include "mem/run_sealer.h"

namespace bulkhead {

// A thread that keeps the number of resident pages below the limit.
//
// A clock with two hands. The host shows no accessed bits for a guest's pages (no idle page
// tracking in stock kernels, and those of nested page tables belong to KVM), so the front hand
// unmaps pages and leaves them in the file: one that is touched again costs a cheap fault, which
// maps it, and is spared for a few rounds. What the rear hand still finds unmapped, some time
// later, is cold: it goes.
class Evictor {
 public:
  static Result<std::unique_ptr<Evictor>> start(ColdCore& core);
  ~Evictor();
  Evictor(const Evictor&) = delete;
  Evictor& operator=(const Evictor&) = delete;

  // Waits until `count` more pages fit, or nothing can be evicted at all: then the limit gives way.
  void make_room(std::uint64_t count);
  // How many more pages fit.
  std::uint64_t room() const;
  // The limit has changed, or memory is no longer held.
  void nudge();
  // Waits until a round that began before ColdCore::held was set is over.
  void wait_until_held() { const MutexLock lock(gate_); }

 private:
  static constexpr std::uint64_t kBlock = 64;

  Evictor(ColdCore& core, RunSealer sealer) : core_(core), sealer_(std::move(sealer)) {}
  void run();
  bool round() EXCLUDES(gate_);
  void age_some() REQUIRES(gate_);
  void age_block(ColdRange& range, std::uint64_t first, std::uint64_t count);
  std::uint64_t evict_some() REQUIRES(gate_);
  template <class Visit>
  std::uint64_t step(PageIndex& hand, Visit visit);
  std::uint64_t low_water() const;

  ColdCore& core_;
  Mutex gate_;  // held during a round
  RunSealer sealer_;
  PageIndex front_ GUARDED_BY(gate_);
  PageIndex rear_ GUARDED_BY(gate_);
  std::uint64_t fruitless_ = 0;  // rounds in a row that evicted nothing
  std::atomic<bool> stuck_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint32_t> work_ = 0;
  std::atomic<std::uint32_t> rounds_ = 0;
  Thread thread_;
};

}  // namespace bulkhead
