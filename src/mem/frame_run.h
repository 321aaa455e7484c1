// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/address.h"

namespace bulkhead {

// `frames` neighbouring frames of 2 MiB, from `first`.
struct FrameRun {
  FrameIndex first;
  std::uint64_t frames = 0;

  std::uint64_t size_bytes() const { return frames * kFrameSize; }
  // Only of a run that fits what it is part of.
  FrameIndex end() const { return first + frames; }
  bool overlaps(const FrameRun& other) const { return first < other.end() && other.first < end(); }
  bool operator==(const FrameRun&) const = default;
};

}  // namespace bulkhead
