// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>

#include "attest/report.h"
#include "measure/measured_launch.h"
#include "measure/pcr_values.h"

namespace bulkhead {

// PCRs that tell what a partition is: without all of them in one bank of a quote, an event log may
// say of the missing ones what it likes.
inline constexpr std::uint32_t kLaunchPcrs =
    1U << index_of(kMonitorPcr) | 1U << index_of(kConfigPcr) | 1U << index_of(kKernelPcr) |
    1U << index_of(kCommandLinePcr) | 1U << index_of(kInitrdPcr);

// Makes the checks kEventLog and kLaunch. `quoted` are the values that a good quote vouches for.
// What the log says was started, which is to be believed only if both passed.
std::optional<LaunchFacts> judge_event_log(Report& report, std::span<const std::byte> log,
                                           const PcrValues& quoted);

}  // namespace bulkhead
