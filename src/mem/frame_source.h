// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "mem/frame_run.h"
#include "mem/page_run.h"

namespace bulkhead {

// What guest RAM is made of. Later levels of the design (gmem, snp, tdx) join here.
enum class Backing : std::uint8_t {
  kMemfd,    // a memory file, 4 KiB pages that the kernel may join to huge ones
  kHugetlb,  // the same from the host's reserved pool of 2 MiB pages
  kCarved,   // physical memory that the host kernel was told to leave alone (memmap=)
};

// A run of frames with one owner, as part of a file that can be mapped. Zeroed when it is taken.
struct Extent {
  FrameIndex first;  // in the ledger that covers it
  std::uint64_t frames = 0;
  Backing backing = Backing::kMemfd;
  Fd file;                        // kCarved: /dev/mem
  std::uint64_t file_offset = 0;  // kCarved: the physical address

  std::uint64_t size_bytes() const { return frames * kFrameSize; }
};

// What a grantee may do with pages that are shared with it; a set of bits.
enum class Rights : std::uint8_t { kRead = 1, kWrite = 2, kReadWrite = 3 };
// How a ledger names a grant of pages.
using GrantId = Address<struct GrantIdKind>;

// Where a partition's frames come from, and go to: its own private files, or the host's pool. Every
// frame that it hands out is in a ledger, owned by this partition. Thread-safe.
class FrameSource {
 public:
  virtual ~FrameSource() = default;

  // A run of `frames` frames; kExhausted when there are too few. A request above one growth unit
  // may come as several extents: ask again for the rest when fewer came.
  virtual Result<Extent> take(std::uint64_t frames) = 0;
  // Gives a run back, which nobody maps any more. The source scrubs it before anybody else gets it.
  virtual void give_back(Extent extent) = 0;
  // For the ledger: where in the partition's memory a run is, said once for each; and whether all
  // that the partition has is sealed now. Frames that it shares stay shared there: the grants
  // stand, and the grantee waits for the partition to go on.
  virtual Result<void> place(FrameRun /*run*/, Gpa /*first*/) { return {}; }
  virtual Result<void> note_sealed(bool /*sealed*/) { return {}; }
  virtual Result<GrantId> note_shared(PageRun /*pages*/, Rights /*of_tools*/) { return GrantId(); }
  virtual Result<void> note_unshared(GrantId /*grant*/) { return {}; }
  // Whether the ledger covers the whole host, or this partition alone.
  virtual bool covers_host() const = 0;
};

}  // namespace bulkhead
