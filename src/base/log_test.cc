// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

// However fast a guest causes lines, few get through; a window may change while the test runs.
TEST(LogLimiter, LetsFewLinesThroughAndCountsTheRest) {
  LogLimiter limiter;
  int allowed = 0;
  for (int i = 0; i < 10000; ++i) allowed += limiter.allow() ? 1 : 0;
  EXPECT_GE(allowed, 1);
  EXPECT_LE(allowed, 100);
  EXPECT_EQ(limiter.suppressed(), 10000U - static_cast<unsigned>(allowed));
}

}  // namespace
}  // namespace bulkhead
