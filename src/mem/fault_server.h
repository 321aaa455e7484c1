// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/fd.h"
#include "base/thread.h"
#include "base/thread_annotations.h"
#include "mem/cold_core.h"
#include "mem/evictor.h"
#include "mem/scratch_pages.h"

namespace bulkhead {

// Recognises runs through sealed memory.
class FaultStreams {
 public:
  // A fault opens this page. Returns how many pages to open from it on. `went_on`: how many opened
  // before on speculation have turned out to be of use.
  std::uint64_t next(PageIndex page, std::uint64_t& went_on);

 private:
  struct Stream {
    PageIndex last;            // the page that faulted
    std::uint64_t window = 0;  // pages opened from there; 0: none yet
  };

  Mutex mutex_;
  std::array<Stream, 4> streams_ GUARDED_BY(mutex_){};
  std::size_t oldest_ GUARDED_BY(mutex_) = 0;
};

// A thread that serves page faults. It takes no lock that a thread which touches guest memory can
// hold, and never touches guest memory by its mapping. The same must hold for the vault.
class FaultServer {
 public:
  struct Parts {
    ColdCore& core;
    Evictor& evictor;
    FaultStreams* streams;  // nullptr: open nothing on speculation
  };
  static Result<std::unique_ptr<FaultServer>> start(const Parts& parts);
  ~FaultServer();
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;

  // Waits until a fault that was taken before ColdCore::held was set is served.
  void wait_until_held() { const MutexLock lock(gate_); }

 private:
  FaultServer(const Parts& parts, ScratchPages scratch, Fd stop)
      : core_(parts.core),
        evictor_(parts.evictor),
        streams_(parts.streams),
        scratch_(std::move(scratch)),
        stop_(std::move(stop)) {}

  void run();
  void serve(const PageFault& fault);
  PageState resolve(ColdRange& range, std::uint64_t page, PageState state, bool write);
  PageState map_dirty(ColdRange& range, std::uint64_t page, PageState state);
  PageState map_clean(ColdRange& range, std::uint64_t page, PageState state, bool write);
  PageState populate(const ColdRange& range, std::uint64_t page);
  PageState open(ColdRange& range, std::uint64_t page, bool write);
  void prefetch(ColdRange& range, std::uint64_t page, bool write);
  std::uint64_t fetch_run(ColdRange& range, std::uint64_t first, std::uint64_t count);
  bool fetch(const ColdRange& range, std::uint64_t page, std::uint64_t slot);
  bool install(const ColdRange& range, std::uint64_t page, std::uint64_t slot, PageState as);
  PageState opened_as(bool write) const;
  UserFault::Access access_of(PageState state) const;
  void fail(PageIndex page, Error error);
  void try_again(const ColdRange& range, std::uint64_t page);

  ColdCore& core_;
  Evictor& evictor_;
  FaultStreams* streams_;
  ScratchPages scratch_;
  Fd stop_;
  Mutex gate_;  // held while faults are served
  Thread thread_;
};

}  // namespace bulkhead
