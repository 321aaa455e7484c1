// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead {

// A point in time to the second, of the years 0 to 9999.
using UtcTime = std::chrono::sys_seconds;

// "2026-11-22T14:05:00Z", as RFC 3339 has it.
std::string to_string(UtcTime time);
// The same read: this form only. Nothing for a day or an hour that does not exist, or a leap
// second.
std::optional<UtcTime> parse_utc_time(std::string_view text);

}  // namespace bulkhead
