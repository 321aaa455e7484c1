// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mem/cold_core.h"
#include "mem/evictor.h"
#include "mem/fault_server.h"
#include "mem/residency.h"

namespace bulkhead {

// ColdCounters at one moment, each read by itself.
struct ColdStats {
  std::uint64_t resident = 0, sealed = 0, aged = 0;
  std::uint64_t zero_faults = 0, aged_faults = 0, open_faults = 0, write_faults = 0, waits = 0;
  std::uint64_t put = 0, dropped_clean = 0, dropped_zero = 0, aborted = 0;
  std::uint64_t prefetched = 0, prefetch_hits = 0;
  std::uint64_t put_errors = 0, host_errors = 0, integrity_failures = 0, over_limit = 0;
};

// Guest memory of which only a window is in RAM: the rest is sealed in a vault, page by page, and
// opened when somebody touches it (the guest, the monitor, or the kernel on behalf of either).
//
// At most limit_pages are resident, plus what the fault threads open at one moment, fault_threads
// x 16 pages; more only while the vault takes no pages or all are pinned. Costs 4 bytes per guest
// page (0.1 %), and 64 KiB of locked scratch memory per thread (faults, eviction, sealing).
//
// Page contents pass only through that scratch memory, wiped after each use, and a page is
// overwritten before it is freed. What seals is the vault's business, and so is who may read it.
//
// Thread-safe. System calls beyond those of GuestMemory: userfaultfd's ioctls and read, poll,
// madvise, pread, pwrite, fallocate, lseek, mprotect.
class ColdMemory : public Residency {
 public:
  static constexpr std::uint64_t kMinLimit = 128;
  static constexpr unsigned kMaxFaultThreads = 16;

  struct Options {
    std::uint64_t limit_pages = 0;  // at least kMinLimit
    unsigned fault_threads = 2;
    bool keep_copies = true;  // of pages opened and not written to: the vault holds them, too
    bool prefetch = true;
    ColdSabotage sabotage = {};
  };
  // Vault and observer outlive it. An error says what the host lacks, and what to do about it.
  static Result<std::unique_ptr<ColdMemory>> create(const Options& options, PageVault& vault,
                                                    ColdObserver& observer);
  // The partition's threads have stopped. Memory with sealed pages is forbidden to everybody from
  // now on (SIGSEGV, EFAULT): it would read as zero.
  ~ColdMemory() override;

  // Manages one more extent, with what it holds. Nobody transfers to or from it at this moment,
  // and it stays mapped until it is removed.
  Result<void> add_range(const ColdExtent& extent);
  // The content is no longer needed; what was sealed reads as zero. Nobody transfers to or from it.
  Result<void> remove_range(PageIndex first);

  // The evictor works towards it; lowering it does not wait.
  Result<void> set_limit(std::uint64_t limit_pages);
  // Whether pages that were opened and not written to can be dropped without sealing them again.
  bool keeps_copies() const { return core_.keeps_copies; }

  Result<void> pin(std::span<const iovec> pieces) override;
  void unpin(std::span<const iovec> pieces) override;
  Result<void> discard(PageRun pages) override;

  // Seals all there is, with two threads; then threads that touch memory wait for resume(). The
  // partition is paused: nobody uses memory, nothing is pinned. On an error too: some pages stay in
  // RAM then (kBusy: pinned, or the vault refuses them).
  Result<void> seal_all();
  void resume();

  // When the partition has ended: threads that wait for a failed page get SIGSEGV, in a system call
  // (KVM_RUN, too) EFAULT. Nothing is shown in its place. For good.
  void release_faults();

  ColdStats stats() const;

 private:
  struct Sweep;

  ColdMemory(UserFault userfault, const Options& options, PageVault& vault, ColdObserver& observer);
  Result<void> start(const Options& options);
  void hold();
  bool pin_piece(HostRun piece);
  void unpin_piece(HostRun piece);
  Result<void> discard_part(ColdRange& range, std::uint64_t first, std::uint64_t count);
  Result<void> check_all_sealed() const;

  ColdCore core_;
  Mutex changing_;  // held while a range is added
  FaultStreams streams_;
  std::unique_ptr<Evictor> evictor_;
  std::vector<std::unique_ptr<FaultServer>> servers_;
};

}  // namespace bulkhead
