// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/log.h"
#include "mem/cold_range.h"
#include "mem/page_vault.h"
#include "mem/userfault.h"

namespace bulkhead {

// Whoever answers for the partition. Called on a thread that serves faults: must not wait for it,
// nor touch guest memory.
class ColdObserver {
 public:
  virtual ~ColdObserver() = default;
  // What the vault has of this page is not what was put. The page stays closed, and whoever touches
  // it waits: end the partition, and then ColdMemory::release_faults().
  virtual void integrity_failed(PageIndex page, Error error) = 0;
};

// For tests alone: each takes one defence away, to show that something is lost without it.
struct ColdSabotage {
  bool seal_while_mapped = false;
  bool ignore_pins = false;
  bool lose_protection = false;
};

struct ColdCounters {
  using Count = std::atomic<std::uint64_t>;
  Count resident = 0, sealed = 0, aged = 0;            // pages now
  Count zero_faults = 0;                               // first touch of a page
  Count aged_faults = 0;                               // a page that was unmapped to sample its use
  Count open_faults = 0;                               // a sealed page
  Count write_faults = 0;                              // first write to a clean page
  Count waits = 0;                                     // faults on a page that another thread had
  Count put = 0, dropped_clean = 0, dropped_zero = 0;  // pages evicted: sealed anew, as they were
  Count aborted = 0;                                   // wanted again while being sealed
  Count prefetched = 0, prefetch_hits = 0;
  Count put_errors = 0, host_errors = 0, integrity_failures = 0, over_limit = 0;
};

// What the parts of cold memory share.
struct ColdCore {
  ColdCore(UserFault fault, PageVault& store, ColdObserver& watcher, bool keep)
      : userfault(std::move(fault)),
        vault(store),
        observer(watcher),
        keeps_copies(keep && userfault.protects()) {}

  UserFault userfault;
  PageVault& vault;
  ColdObserver& observer;
  // Whether an opened page stays sealed too until it is written to. Takes write protection: without
  // it, every opened page counts as dirty.
  const bool keeps_copies;
  ColdRanges ranges;
  ColdCounters counters;
  std::atomic<std::uint64_t> limit_pages = 0;
  std::atomic<bool> held = false;      // faults wait: everything is sealed
  std::atomic<bool> released = false;  // failed pages are forbidden
  ColdSabotage sabotage;

  void count_move(PageState from, PageState to) {
    count(counters.resident, is_resident(from), is_resident(to));
    count(counters.aged, is_aged(from), is_aged(to));
    count(counters.sealed, from == PageState::kSealed, to == PageState::kSealed);
  }
  // Ends the work on a busy page that was `from`.
  void finish(ColdRange& range, std::uint64_t page, PageState from, PageState to) {
    count_move(from, to);
    if (range.states().finish(page, to)) userfault.wake(range.host(page));
  }
  // The threads that wait for a failed page go on: to SIGSEGV, and EFAULT in the kernel. Not by
  // UFFDIO_POISON: KVM would send the processor's thread SIGBUS.
  void condemn(ColdRange& range, std::uint64_t page) {
    range.forbid(page, 1);
    userfault.wake(range.host(page));
  }
  void host_failed(const char* event, Error error) {
    const std::uint64_t before = counters.host_errors.fetch_add(1);
    if ((before & (before + 1)) != 0) return;  // the 1st, 2nd, 4th, 8th, ...
    log_warning(event, {{"reason", error.what}, {"errno", error.os_errno}, {"count", before + 1}});
  }

 private:
  static void count(ColdCounters::Count& counter, bool before, bool after) {
    if (before == after) return;
    if (after) {
      ++counter;
    } else {
      --counter;
    }
  }
};

}  // namespace bulkhead
