// SPDX-License-Identifier: Apache-2.0
#include "mem/evictor.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace bulkhead {
namespace {

// Of the resident pages, how many are unmapped on trial. More find the cold ones better, and cost
// more faults of warm ones.
constexpr std::uint64_t kAgedShare = 16;
// Pages looked at in one round, and pages evicted in it.
constexpr std::uint64_t kScan = 16384;
constexpr std::uint64_t kBatch = 64;
// Free pages kept below the limit, so that faults seldom wait.
constexpr std::uint64_t kSlackShare = 64;
constexpr std::uint64_t kMinSlack = 2 * ColdRange::kMaxRun;
// So often may all pages prove hot before the evictor is taken to be stuck.
constexpr std::uint64_t kSweeps = 6;

}  // namespace

Result<std::unique_ptr<Evictor>> Evictor::start(ColdCore& core) {
  RunSealer sealer = TRY(RunSealer::create(core));
  std::unique_ptr<Evictor> evictor(new Evictor(core, std::move(sealer)));
  evictor->thread_ = TRY(Thread::start(
      "cold-evict", [](void* self) { static_cast<Evictor*>(self)->run(); }, evictor.get()));
  return evictor;
}

Evictor::~Evictor() {
  stopping_ = true;
  nudge();
  thread_.join();
}

std::uint64_t Evictor::low_water() const {
  const std::uint64_t limit = core_.limit_pages;
  return limit - std::max(kMinSlack, limit / kSlackShare);
}

std::uint64_t Evictor::room() const {
  const std::uint64_t resident = core_.counters.resident;
  const std::uint64_t limit = core_.limit_pages;
  return limit > resident ? limit - resident : 0;
}

void Evictor::nudge() {
  work_ = 1;
  work_.notify_one();
}

void Evictor::make_room(std::uint64_t count) {
  for (;;) {
    const std::uint32_t seen = rounds_;
    const std::uint64_t fits = room();
    if (fits < kMinSlack) nudge();
    if (fits >= count || core_.held || stopping_) return;
    if (stuck_) {
      ++core_.counters.over_limit;
      return;
    }
    rounds_.wait(seen);
  }
}

void Evictor::run() {
  while (!stopping_) {
    work_.wait(0);
    work_ = 0;
    while (!stopping_ && core_.counters.resident > low_water() && round()) {
    }
    ++rounds_;
    rounds_.notify_all();
    // Whatever is in the way (the vault, pins) may pass; do not burn a processor until then.
    if (stuck_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ++rounds_;
  rounds_.notify_all();
}

// False: nothing can be done now.
bool Evictor::round() {
  const MutexLock lock(gate_);
  if (core_.held) return false;
  age_some();
  const bool progress = evict_some() > 0;
  std::uint64_t total = 0;
  for (const auto& range : core_.ranges.all()) total += range->count();
  fruitless_ = progress ? 0 : fruitless_ + 1;
  stuck_ = fruitless_ > kSweeps * (total / kScan + 1);
  ++rounds_;
  rounds_.notify_all();
  return !stuck_;
}

// Has `visit(range, first, count)` see the next few pages. Returns how many.
template <class Visit>
std::uint64_t Evictor::step(PageIndex& hand, Visit visit) {
  ColdRangeUse range = core_.ranges.at_or_above(hand);
  if (!range) {
    hand = PageIndex(0);
    return kBlock;
  }
  const std::uint64_t first = range->contains(hand) ? hand - range->first() : 0;
  const std::uint64_t count = std::min(kBlock, range->count() - first);
  visit(*range, first, count);
  hand = range->index(first + count);
  return count;
}

void Evictor::age_some() {
  const std::uint64_t wanted =
      std::max<std::uint64_t>(kBatch, core_.counters.resident / kAgedShare);
  std::uint64_t scanned = 0;
  while (core_.counters.aged < wanted && scanned < kScan) {
    scanned += step(front_, [this](ColdRange& range, std::uint64_t first, std::uint64_t count) {
      age_block(range, first, count);
    });
  }
}

// An aged page may still be mapped for a moment: sealing does not rely on it being unmapped here.
void Evictor::age_block(ColdRange& range, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = first + count;
  for (std::uint64_t page = first; page < end; ++page) {
    const std::uint64_t start = page;
    while (page < end && range.states().age(page)) ++page;
    if (page == start) continue;
    core_.counters.aged += page - start;
    if (core_.sabotage.seal_while_mapped) continue;
    const Result<void> unmapped = range.unmap(start, page - start);
    if (!unmapped) core_.host_failed("cold.unmap_failed", unmapped.error());
  }
}

std::uint64_t Evictor::evict_some() {
  std::uint64_t gone = 0;
  std::uint64_t scanned = 0;
  while (gone < kBatch && scanned < kScan && core_.counters.aged > 0) {
    scanned += step(rear_, [&](ColdRange& range, std::uint64_t first, std::uint64_t count) {
      for (std::uint64_t at = 0; at < count; at += ColdRange::kMaxRun) {
        const std::uint64_t part = std::min(ColdRange::kMaxRun, count - at);
        gone += sealer_.seal(range, first + at, part, RunSealer::Which::kAged).gone;
      }
    });
  }
  return gone;
}

}  // namespace bulkhead
