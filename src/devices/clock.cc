// SPDX-License-Identifier: Apache-2.0
#include "devices/clock.h"

#include <time.h>

namespace bulkhead {
namespace {

// These clocks always exist on Linux: clock_gettime cannot fail for them.
std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * kNanosecondsPerSecond + now.tv_nsec;
}

}  // namespace

std::int64_t realtime_ns() {
  return read_clock(CLOCK_REALTIME);
}

std::int64_t monotonic_ns() {
  return read_clock(CLOCK_MONOTONIC);
}

}  // namespace bulkhead
