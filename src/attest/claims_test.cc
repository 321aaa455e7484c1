// SPDX-License-Identifier: Apache-2.0
#include "attest/claims.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

TEST(Version, IsReadStrictly) {
  EXPECT_EQ(parse_version("1"), (Version{1, 0, 0}));
  EXPECT_EQ(parse_version("0.12"), (Version{0, 12, 0}));
  EXPECT_EQ(parse_version("1.2.65535"), (Version{1, 2, 65535}));
  for (std::string_view text : {"", ".", "1.", ".1", "1.2.3.4", "1.2.3-rc1", "01.2", "1.02", "-1",
                                "+1", " 1", "1 ", "65536", "1..2", "v1"}) {
    EXPECT_EQ(parse_version(text), std::nullopt) << text;
  }
  EXPECT_EQ(to_string(Version{1, 20, 3}), "1.20.3");
}

TEST(Version, ComparesNumbersNotLetters) {
  EXPECT_LT(*parse_version("0.9"), *parse_version("0.10"));
  EXPECT_LT(*parse_version("1.2.3"), *parse_version("1.2.10"));
  EXPECT_LT(*parse_version("1.99.99"), *parse_version("2"));
}

// Nothing that somebody forgot to fill in looks good.
TEST(Claims, AreTheWorstUnlessFilledIn) {
  const Claims claims;
  EXPECT_TRUE(claims.debug);
  EXPECT_EQ(claims.isolation, Isolation::kNone);
  EXPECT_FALSE(claims.host.has_value());
  EXPECT_FALSE(claims.quote_age_s.has_value());
  for (Component component : kComponents) EXPECT_FALSE(claims.versions[component].has_value());
}

}  // namespace
}  // namespace bulkhead
