// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/result.h"
#include "mem/page_run.h"

namespace bulkhead {

// Decides which guest pages are in RAM. Whoever lends guest pages to the kernel for longer than one
// copy (O_DIRECT, registered buffers) pins them for that time: the kernel then holds frames, not
// addresses, and a page that left meanwhile would be transferred to or from an orphan. Plain
// accesses need nothing, they fault. Thread-safe.
class Residency {
 public:
  virtual ~Residency() = default;

  // From now on the pages under these pieces of guest memory stay, once they are there. Counted:
  // each pin() has its unpin(), with the same pieces. On an error (kExhausted: more than kMaxPins
  // at once) nothing was pinned. Does not wait, and does not bring pages in. Pages that are not
  // managed are ignored.
  static constexpr std::uint32_t kMaxPins = (std::uint32_t{1} << 24) - 1;
  virtual Result<void> pin(std::span<const iovec> pieces) = 0;
  virtual void unpin(std::span<const iovec> pieces) = 0;

  // Gives the pages back to the host: they read as zero, and no sealed copy is left.
  virtual Result<void> discard(PageRun pages) = 0;
};

}  // namespace bulkhead
