// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead {

// A source of time in nanoseconds; devices take one so that tests can turn it by hand.
using NanosecondClock = std::int64_t (*)();

inline constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

// CLOCK_REALTIME: since 1970-01-01 00:00 UTC.
std::int64_t realtime_ns();
// CLOCK_MONOTONIC: since some moment, never backwards.
std::int64_t monotonic_ns();

}  // namespace bulkhead
