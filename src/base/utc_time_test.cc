// SPDX-License-Identifier: Apache-2.0
#include "base/utc_time.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

TEST(UtcTime, ComesBack) {
  for (const char* text : {"1970-01-01T00:00:00Z", "2026-11-22T14:05:59Z", "2028-02-29T23:59:59Z",
                           "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"}) {
    const auto time = parse_utc_time(text);
    ASSERT_TRUE(time.has_value()) << text;
    EXPECT_EQ(to_string(*time), text);
  }
  EXPECT_EQ(parse_utc_time("2026-11-22T14:05:00Z")->time_since_epoch().count(), 1795356300);
}

TEST(UtcTime, TakesOneFormOnly) {
  for (const char* text : {"", "2026-11-22", "2026-11-22T14:05:00", "2026-11-22 14:05:00Z",
                           "2026-11-22T14:05:00+00:00", "2026-13-01T00:00:00Z",
                           "2026-02-29T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-01T24:00:00Z",
                           "2026-01-01T00:60:00Z", "2026-12-31T23:59:60Z", "-026-01-01T00:00:00Z",
                           "2026-01-01T00:00:0aZ", "2026-11-22T14:05:00Z "}) {
    EXPECT_FALSE(parse_utc_time(text)) << text;
  }
}

}  // namespace
}  // namespace bulkhead
