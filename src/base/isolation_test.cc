// SPDX-License-Identifier: Apache-2.0
#include "base/isolation.h"

#include <gtest/gtest.h>

#include <array>

namespace bulkhead {
namespace {

constexpr std::array kLadder = {Isolation::kNone,   Isolation::kMemfd, Isolation::kHugetlb,
                                Isolation::kCarved, Isolation::kGmem,  Isolation::kSnp,
                                Isolation::kTdx};

TEST(Isolation, NamesAreReadBack) {
  for (Isolation level : kLadder) EXPECT_EQ(isolation_named(to_string(level)), level);
  EXPECT_EQ(isolation_named("Carved"), std::nullopt);
  EXPECT_EQ(isolation_named(""), std::nullopt);
}

TEST(Isolation, IsALadderWhoseTopIsWide) {
  for (Isolation level : kLadder) {
    for (Isolation wanted : kLadder) {
      const bool both_top = level >= Isolation::kSnp && wanted >= Isolation::kSnp;
      EXPECT_EQ(at_least(level, wanted), level >= wanted || both_top)
          << to_string(level) << " for " << to_string(wanted);
    }
  }
}

}  // namespace
}  // namespace bulkhead
