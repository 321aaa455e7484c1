// SPDX-License-Identifier: Apache-2.0
#include "mem/frame_pool.h"

namespace bulkhead {

Result<void> FramePool::check(const FrameRun& run) const {
  if (run.frames == 0 || !range_fits(run.first.value(), run.frames, frames_)) {
    return Error{Errc::kOutOfRange, 0, "these frames are not in the pool"};
  }
  return {};
}

}  // namespace bulkhead
