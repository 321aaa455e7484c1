// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "mem/cold_core.h"
#include "mem/scratch_pages.h"

namespace bulkhead {

// Moves pages from guest memory into the vault. One thread's own.
//
// Why no write is lost. A page is sealed only while it is busy, and the steps are: unmap, read the
// file, put, overwrite and free.
//  - Unmapping takes the page from every page table that can reach it: those of this process, as
//    the extent is mapped nowhere else, and by its MMU notifier KVM's nested ones. It returns when
//    no processor can use an old translation any more.
//  - After that every touch faults. The mapping is watched for missing and for minor faults, so the
//    kernel never maps a page by itself: shmem_fault() asks us whether the file has the page or
//    not, fault-around is off (uffd_disable_fault_around()), and neither khugepaged nor
//    MADV_COLLAPSE maps a huge page over it (collapse_pte_mapped_thp() refuses where writes are
//    watched). Only who made a page busy maps it; so nobody does before finish().
//  - What is left are those who hold the frame without a mapping: get_user_pages() of a transfer
//    that began before. They pinned the page, and pinned pages are not taken. A pin that comes
//    later than that precedes its get_user_pages(), which finds no mapping, faults, and gets the
//    frame that is installed afterwards. KVM itself drops the frames of its caches (clocks, steal
//    time) in the same notifier; those of nested guests' control blocks it does not, and
//    partitions do not run nested guests.
//  - A page that a thread waits for when put() is done stays, as a clean one.
class RunSealer {
 public:
  enum class Which : std::uint8_t { kAged, kResident };
  struct Tally {
    std::uint64_t gone = 0;
    std::uint64_t failed = 0;
  };

  static Result<RunSealer> create(ColdCore& core);

  // Seals those of at most ColdRange::kMaxRun pages that are as asked for, not pinned, not busy.
  Tally seal(ColdRange& range, std::uint64_t first, std::uint64_t count, Which which);

 private:
  RunSealer(ColdCore& core, ScratchPages scratch) : core_(core), scratch_(std::move(scratch)) {}

  std::uint64_t take_run(ColdRange& range, std::uint64_t first, std::uint64_t count, Which which);
  void seal_run(ColdRange& range, std::uint64_t first, std::uint64_t count, Tally& tally);
  Result<void> load(const ColdRange& range, std::uint64_t first, std::uint64_t count);
  PageState seal_page(ColdRange& range, std::uint64_t page, std::uint64_t slot);
  PageState stays(const ColdRange& range, std::uint64_t page);
  void erase_gone(const ColdRange& range, std::uint64_t first, std::uint64_t count);

  ColdCore& core_;
  ScratchPages scratch_;
  std::array<PageState, ColdRange::kMaxRun> before_{};  // of the run at hand
  std::array<PageState, ColdRange::kMaxRun> after_{};
};

}  // namespace bulkhead
