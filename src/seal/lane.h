// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

namespace bulkhead {

// What many threads write to is kept once per lane, so that they mostly do not disturb each other.
// Threads outnumber lanes: sharing one must be correct, only slower.
inline constexpr std::size_t kLanes = 8;

inline std::size_t lane_of_thread() {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
  constexpr unsigned kShift = 61;  // leaves 3 bits
  return static_cast<std::size_t>((std::uint64_t{pthread_self()} >> 12) * kGolden >> kShift);
}

}  // namespace bulkhead
