// SPDX-License-Identifier: Apache-2.0
// What keeps one requester, or one tenant, from taking everybody's place.
#include <gtest/gtest.h>

#include "broker/rate_limiter.h"
#include "broker/route.h"
#include "broker/session_table.h"
#include "broker/strict_json.h"

namespace bulkhead::broker {
namespace {

const TimePoint kStart = std::chrono::steady_clock::now();
constexpr std::chrono::seconds kSecond{1};

TEST(RateLimiter, RefillsAtItsRateUpToItsBurst) {
  RateLimiter limiter({.per_second = 2, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow("a", kStart));
  EXPECT_FALSE(limiter.allow("a", kStart));
  EXPECT_TRUE(limiter.allow("b", kStart)) << "another's";
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(limiter.allow("a", kStart + kSecond));
  EXPECT_FALSE(limiter.allow("a", kStart + kSecond));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow("a", kStart + 100 * kSecond));
  EXPECT_FALSE(limiter.allow("a", kStart + 100 * kSecond));
}

TEST(RateLimiter, InventedNamesShareOneBucket) {
  RateLimiter limiter({.per_second = 1, .burst = 2});
  for (std::size_t i = 0; i < RateLimiter::kMaxNames; ++i) {
    EXPECT_TRUE(limiter.allow(std::to_string(i), kStart));
  }
  EXPECT_TRUE(limiter.allow("new", kStart));
  EXPECT_TRUE(limiter.allow("newer", kStart));
  EXPECT_FALSE(limiter.allow("newest", kStart));
  EXPECT_TRUE(limiter.allow("0", kStart)) << "who was known keeps a bucket of its own";
  // Later the old ones are full, and are forgotten.
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(limiter.allow("late" + std::to_string(i), kStart + 10 * kSecond));
  }
}

TEST(RateLimiter, APeerIsAnIpv4AddressOrAnIpv6Network) {
  EXPECT_EQ(peer_group("192.0.2.1"), "192.0.2.1");
  EXPECT_NE(peer_group("192.0.2.1"), peer_group("192.0.2.2"));
  EXPECT_EQ(peer_group("2001:db8::1"), peer_group("2001:db8::ffff:1"));
  EXPECT_NE(peer_group("2001:db8::1"), peer_group("2001:db8:0:1::1"));
  EXPECT_NE(peer_group("::ffff:192.0.2.1"), peer_group("::ffff:192.0.2.2"));
}

Proof proof_of(std::size_t size) {
  const Json jwk = {{"kty", "EC"},
                    {"crv", "P-256"},
                    {"x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"},
                    {"y", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}};
  return {.nonce = {},
          .challenged = kStart,
          .key = *RequesterKey::parse(jwk),
          .evidence = std::string(size, ' ')};
}

TEST(SessionTable, KeepsSoMuchEvidence) {
  SessionTable table({.evidence_bytes = 1000});
  const auto keep = [&table](std::size_t size, TimePoint now) {
    const auto opened = table.open(now);
    return table.keep(opened->id, proof_of(size), now);
  };
  EXPECT_FALSE(keep(1001, kStart));
  EXPECT_TRUE(keep(600, kStart));
  EXPECT_EQ(keep(600, kStart).error().code, Errc::kExhausted);
  EXPECT_TRUE(keep(400, kStart));
  EXPECT_TRUE(keep(1000, kStart + 300 * kSecond)) << "the others have ended";
}

TEST(SessionTable, NothingIsKeptTwice) {
  SessionTable table({});
  const auto opened = table.open(kStart);
  EXPECT_TRUE(table.keep(opened->id, proof_of(1), kStart));
  EXPECT_FALSE(table.keep(opened->id, proof_of(1), kStart));
  EXPECT_NE(table.proof(opened->id, kStart), nullptr);
  table.drop(opened->id);
  EXPECT_EQ(table.proof(opened->id, kStart), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(StrictJson, HasOneMeaningOrNone) {
  EXPECT_TRUE(parse_json(R"({"a": {"b": [1, 2]}, "b": 1})", 100));
  for (const char* text :
       {"", "{", "{} {}", R"({"a": 1, "a": 1})", R"({"x": {"a": 1, "a": 1}})", "{'a': 1}",
        R"({"a": 1,})", "{\"a\": \"\xff\"}", R"({"a": 1e999})", "[0]", "// x\n{}"}) {
    EXPECT_FALSE(parse_json(text, 100)) << text;
  }
  EXPECT_FALSE(parse_json("{ }", 2));
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_TRUE(parse_json(nested(16), 1'000'000));
  EXPECT_FALSE(parse_json(nested(17), 1'000'000));
  EXPECT_FALSE(parse_json(nested(400'000), 1'000'000));
}

TEST(Route, ASessionComesOnceAndWhole) {
  const std::string id(64, 'a');
  EXPECT_EQ(session_cookie("kbs-session-id=" + id), id);
  EXPECT_EQ(session_cookie("x=1; kbs-session-id=" + id + "; y=2"), id);
  for (const std::string& header :
       {std::string(), "kbs-session-id=" + id + "a", "kbs-session-id=" + id.substr(1),
        "kbs-session-id=" + std::string(64, 'A'), "xkbs-session-id=" + id,
        "kbs-session-id=" + id + "; kbs-session-id=" + id, "kbs-session-id=\"" + id + "\""}) {
    EXPECT_FALSE(session_cookie(header)) << header;
  }
}

TEST(Route, PathsNameOneThingOrNothing) {
  const auto route = parse_route("/tenant/alice/kbs/v0/resource/a/b/c");
  ASSERT_TRUE(route);
  EXPECT_EQ(route->tenant, "alice");
  EXPECT_EQ(route->resource, "a/b/c");
  EXPECT_EQ(prefix_of(*route), "/tenant/alice/kbs/v0");
  EXPECT_EQ(prefix_of(*parse_route("/kbs/v0/auth")), "/kbs/v0");
  for (const char* path :
       {"", "/", "/kbs/v0", "/kbs/v0/", "/kbs/v0/auth/", "//kbs/v0/auth", "/tenant//kbs/v0/auth",
        "/tenant/a", "/tenant/A/kbs/v0/auth", "/tenant/../kbs/v0/auth", "/kbs/v0/resource/a/b",
        "/kbs/v0/resource/a/b/c/d", "/kbs/v0/resource/a//c", "/kbs/v0/resource/a/./c",
        "/kbs/v0/resource/a/b/c?", "/kbs/v0/resource/a/b/%63"}) {
    EXPECT_FALSE(parse_route(path)) << path;
  }
}

}  // namespace
}  // namespace bulkhead::broker
