// SPDX-License-Identifier: Apache-2.0
#include "mem/cold_memory.h"

#include <algorithm>
#include <array>
#include <optional>
#include <thread>
#include <utility>

namespace bulkhead {
namespace {

Result<void> check_limit(std::uint64_t limit_pages) {
  if (limit_pages >= ColdMemory::kMinLimit) return {};
  return Error{Errc::kInvalidArgument, 0, "a window of cold memory has at least 128 pages"};
}

bool vault_has(PageState state) {
  return is_clean(state) || state == PageState::kSealed || state == PageState::kFailed;
}

// Waits for whoever has the page; they wait for nobody who could wait for this thread. Nothing: the
// page has failed, and stays as it is.
std::optional<PageState> take_patiently(PageStates& states, std::uint64_t page) {
  for (;;) {
    const auto fits = [](PageState state, bool) { return state != PageState::kFailed; };
    const std::optional<PageState> state = states.take_if(page, fits);
    if (state || states.state(page) == PageState::kFailed) return state;
    std::this_thread::yield();
  }
}

}  // namespace

ColdMemory::ColdMemory(UserFault userfault, const Options& options, PageVault& vault,
                       ColdObserver& observer)
    : core_(std::move(userfault), vault, observer, options.keep_copies) {
  core_.limit_pages = options.limit_pages;
  core_.sabotage = options.sabotage;
}

Result<std::unique_ptr<ColdMemory>> ColdMemory::create(const Options& options, PageVault& vault,
                                                       ColdObserver& observer) {
  TRY(check_limit(options.limit_pages));
  if (options.fault_threads == 0 || options.fault_threads > kMaxFaultThreads) {
    return Error{Errc::kInvalidArgument, 0, "cold memory has from 1 to 16 fault threads"};
  }
  UserFault userfault = TRY(UserFault::create());
  std::unique_ptr<ColdMemory> memory(
      new ColdMemory(std::move(userfault), options, vault, observer));
  TRY(memory->start(options));
  return memory;
}

Result<void> ColdMemory::start(const Options& options) {
  evictor_ = TRY(Evictor::start(core_));
  FaultStreams* streams = options.prefetch ? &streams_ : nullptr;
  for (unsigned i = 0; i < options.fault_threads; ++i) {
    servers_.push_back(TRY(FaultServer::start({core_, *evictor_, streams})));
  }
  return {};
}

ColdMemory::~ColdMemory() {
  hold();
  servers_.clear();
  evictor_.reset();
  for (const auto& range : core_.ranges.all()) {
    for (std::uint64_t page = 0; page < range->count(); ++page) {
      const PageState state = range->states().state(page);
      if (state != PageState::kSealed && state != PageState::kFailed) continue;
      range->forbid(0, range->count());
      break;
    }
    core_.userfault.unwatch(range->whole());
  }
}

Result<void> ColdMemory::add_range(const ColdExtent& extent) {
  std::shared_ptr<ColdRange> range = TRY(ColdRange::create(extent));
  const MutexLock lock(changing_);
  TRY(core_.ranges.check_free(*range));
  TRY(core_.userfault.watch(range->whole()));
  // What the file has stays mapped; what it has not cannot come before somebody serves the fault.
  const Result<std::uint64_t> found = range->adopt();
  if (!found) {
    core_.userfault.unwatch(range->whole());
    return found.error();
  }
  core_.counters.resident += *found;
  core_.ranges.add(std::move(range));
  evictor_->nudge();
  return {};
}

Result<void> ColdMemory::remove_range(PageIndex first) {
  const std::shared_ptr<ColdRange> range = core_.ranges.remove(first);
  if (range == nullptr) return Error{Errc::kNotFound, 0, "cold memory has no such range"};
  for (std::uint64_t page = 0; page < range->count(); ++page) {
    const PageState state = range->states().state(page);
    core_.count_move(state, PageState::kUntouched);
    if (vault_has(state)) core_.vault.forget(range->index(page));
  }
  core_.userfault.unwatch(range->whole());
  evictor_->nudge();
  return {};
}

Result<void> ColdMemory::set_limit(std::uint64_t limit_pages) {
  TRY(check_limit(limit_pages));
  core_.limit_pages = limit_pages;
  evictor_->nudge();
  return {};
}

bool ColdMemory::pin_piece(HostRun piece) {
  std::optional<Hva> refused;
  core_.ranges.for_each_part(piece,
                             [&](ColdRange& range, std::uint64_t first, std::uint64_t count) {
                               for (std::uint64_t page = first; page < first + count; ++page) {
                                 if (range.states().pin(page)) continue;
                                 refused = range.host(page).start;
                                 return false;
                               }
                               return true;
                             });
  if (refused) unpin_piece({piece.start, *refused - piece.start});
  return !refused;
}

void ColdMemory::unpin_piece(HostRun piece) {
  core_.ranges.for_each_part(piece, [](ColdRange& range, std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t page = first; page < first + count; ++page) {
      range.states().unpin(page);
    }
    return true;
  });
}

Result<void> ColdMemory::pin(std::span<const iovec> pieces) {
  if (core_.sabotage.ignore_pins) return {};
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pin_piece(whole_pages(pieces[i]))) continue;
    unpin(pieces.first(i));
    return Error{Errc::kExhausted, 0, "too many transfers to one page"};
  }
  return {};
}

void ColdMemory::unpin(std::span<const iovec> pieces) {
  if (core_.sabotage.ignore_pins) return;
  for (const iovec& piece : pieces) unpin_piece(whole_pages(piece));
}

Result<void> ColdMemory::discard(PageRun pages) {
  Result<void> result;
  core_.ranges.for_each_part(
      pages, [&](ColdRange& range, std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t done = 0; done < count && result; done += ColdRange::kMaxRun) {
          const std::uint64_t part = std::min(ColdRange::kMaxRun, count - done);
          result = discard_part(range, first + done, part);
        }
        return result.has_value();
      });
  evictor_->nudge();
  return result;
}

// Pins do not matter: a guest that gives a page away during a transfer loses what is transferred.
Result<void> ColdMemory::discard_part(ColdRange& range, std::uint64_t first, std::uint64_t count) {
  std::array<std::optional<PageState>, ColdRange::kMaxRun> before;
  for (std::uint64_t i = 0; i < count; ++i) {
    before[i] = take_patiently(range.states(), first + i);
  }
  Result<void> result;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t start = i;
    while (i < count && before[i] && is_resident(*before[i])) ++i;
    if (i > start && result) result = range.erase(first + start, i - start);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!before[i]) continue;
    if (vault_has(*before[i])) core_.vault.forget(range.index(first + i));
    // After a failure the pages are there or not; as zeroes, or as they were.
    const bool lost = result || !is_resident(*before[i]);
    core_.finish(range, first + i, *before[i], lost ? PageState::kUntouched : PageState::kDirty);
  }
  return result;
}

void ColdMemory::hold() {
  core_.held = true;
  for (const auto& server : servers_) server->wait_until_held();
  if (evictor_ != nullptr) {
    evictor_->nudge();
    evictor_->wait_until_held();
  }
}

// The pages of all ranges, dealt out to threads in small portions.
struct ColdMemory::Sweep {
  static constexpr std::uint64_t kPortion = 1024;

  struct Portion {
    ColdRange* range;
    std::uint64_t first;
    std::uint64_t count;
  };
  struct Worker {
    Sweep& sweep;
    RunSealer sealer;
  };

  explicit Sweep(const std::vector<std::shared_ptr<ColdRange>>& ranges) {
    for (const auto& range : ranges) {
      for (std::uint64_t first = 0; first < range->count(); first += kPortion) {
        portions.push_back({range.get(), first, std::min(kPortion, range->count() - first)});
      }
    }
  }

  // False: nothing is left to do.
  bool step(RunSealer& sealer) {
    const std::size_t mine = next.fetch_add(1);
    if (mine >= portions.size()) return false;
    const Portion& portion = portions[mine];
    for (std::uint64_t at = 0; at < portion.count; at += ColdRange::kMaxRun) {
      const std::uint64_t count = std::min(ColdRange::kMaxRun, portion.count - at);
      sealer.seal(*portion.range, portion.first + at, count, RunSealer::Which::kResident);
    }
    return true;
  }
  static void run(void* argument) {
    auto& worker = *static_cast<Worker*>(argument);
    while (worker.sweep.step(worker.sealer)) {
    }
  }

  std::vector<Portion> portions;
  std::atomic<std::size_t> next = 0;
};

Result<void> ColdMemory::seal_all() {
  hold();
  const std::vector<std::shared_ptr<ColdRange>> ranges = core_.ranges.all();
  // One flush of the translations for each range; those of single runs find nothing then.
  for (const auto& range : ranges) TRY(range->unmap(0, range->count()));
  Sweep sweep(ranges);
  Sweep::Worker mine{sweep, TRY(RunSealer::create(core_))};
  Sweep::Worker other{sweep, TRY(RunSealer::create(core_))};
  Thread helper = TRY(Thread::start("cold-seal", Sweep::run, &other));
  Sweep::run(&mine);
  helper.join();
  TRY(check_all_sealed());
  for (const auto& range : ranges) TRY(range->free_leftovers());
  return {};
}

Result<void> ColdMemory::check_all_sealed() const {
  if (core_.counters.resident == 0) return {};
  return Error{Errc::kBusy, 0, "some pages could not be sealed: pinned, or refused by the vault"};
}

void ColdMemory::resume() {
  core_.held = false;
  for (const auto& range : core_.ranges.all()) core_.userfault.wake(range->whole());
  evictor_->nudge();
}

void ColdMemory::release_faults() {
  core_.released = true;
  for (const auto& range : core_.ranges.all()) {
    for (std::uint64_t page = 0; page < range->count(); ++page) {
      if (range->states().state(page) == PageState::kFailed) core_.condemn(*range, page);
    }
  }
}

ColdStats ColdMemory::stats() const {
  const ColdCounters& now = core_.counters;
  return {.resident = now.resident,
          .sealed = now.sealed,
          .aged = now.aged,
          .zero_faults = now.zero_faults,
          .aged_faults = now.aged_faults,
          .open_faults = now.open_faults,
          .write_faults = now.write_faults,
          .waits = now.waits,
          .put = now.put,
          .dropped_clean = now.dropped_clean,
          .dropped_zero = now.dropped_zero,
          .aborted = now.aborted,
          .prefetched = now.prefetched,
          .prefetch_hits = now.prefetch_hits,
          .put_errors = now.put_errors,
          .host_errors = now.host_errors,
          .integrity_failures = now.integrity_failures,
          .over_limit = now.over_limit};
}

}  // namespace bulkhead
