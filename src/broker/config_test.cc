// SPDX-License-Identifier: Apache-2.0
#include "broker/config.h"

#include <gtest/gtest.h>

#include <fstream>

namespace bulkhead::broker {
namespace {

constexpr const char* kGood = R"(version = 1
listen = "[::1]:8443"
state = "state"
certificate = "/etc/cert.pem"
key = "key.pem"
[token]
module = "/usr/lib/token.so"
label = "broker"
pin-file = "pin"
[tenant.alice]
policy = "alice.toml"
)";

std::string error_of(const std::string& text) {
  try {
    parse_config(text, "/base");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Config, PathsCountFromItsDirectory) {
  const Config config = parse_config(kGood, "/base");
  EXPECT_EQ(config.listen.host, "::1");
  EXPECT_EQ(config.listen.port, 8443);
  EXPECT_EQ(config.store_path(), "/base/state/resources.db");
  EXPECT_EQ(config.certificate, "/etc/cert.pem");
  ASSERT_NE(config.find("alice"), nullptr);
  EXPECT_EQ(config.find("alice")->policy, "/base/alice.toml");
  EXPECT_EQ(config.find("bob"), nullptr);
  EXPECT_TRUE(config.metrics.host.empty());
}

TEST(Config, ErrorsNameTheLine) {
  const std::string good = kGood;
  EXPECT_NE(error_of(good + "polcy = 1\n").find("line 12: unknown key 'polcy'; known here: policy"),
            std::string::npos);
  EXPECT_NE(error_of(good + "[limits]\nsessions = 0\n").find("line 13"), std::string::npos);
  EXPECT_NE(error_of(good + "[limits]\nsessions = \"9\"\n").find("line 13"), std::string::npos);
  EXPECT_NE(error_of(good + "[tenant.Bob]\npolicy = \"x\"\n").find("line 12"), std::string::npos);
  EXPECT_NE(error_of(good + "[tenant.bob]\n").find("has no policy"), std::string::npos);
  EXPECT_NE(error_of(good + "=").find("line 12"), std::string::npos);
}

TEST(Config, WhatIsMissingIsNamed) {
  const std::string good = kGood;
  for (const char* key :
       {"version", "state", "certificate", "key", "module", "label", "pin-file"}) {
    std::string text = good;
    const std::size_t start = text.find(std::string("\n") + key + " =");
    const std::size_t line = start == std::string::npos ? 0 : start + 1;
    text.erase(line, text.find('\n', line) + 1 - line);
    EXPECT_NE(error_of(text).find(key), std::string::npos) << key << ": " << error_of(text);
  }
}

// The manual names every key that is understood, and its example is understood whole.
TEST(Config, TheManualsExampleIsGood) {
  std::ifstream file(std::string(BULKHEAD_SOURCE_DIR) + "/docs/man/bulkhead-broker.8");
  const std::string manual{std::istreambuf_iterator<char>(file), {}};
  const std::size_t start = manual.find("version = 1");
  std::string example = manual.substr(start, manual.find(".fi", start) - start);
  for (std::size_t at; (at = example.find("\\-")) != std::string::npos;) example.erase(at, 1);
  const Config config = parse_config(example, "/etc/bulkhead");
  EXPECT_EQ(config.state, "/var/lib/bulkhead-broker");
  const Config defaults;
  EXPECT_EQ(config.sessions.sessions, defaults.sessions.sessions);
  EXPECT_EQ(config.sessions.session_life, defaults.sessions.session_life);
  EXPECT_EQ(config.peer_rate.burst, defaults.peer_rate.burst);
  EXPECT_EQ(config.tenant_rate.per_second, defaults.tenant_rate.per_second);
  EXPECT_EQ(config.http.connections_per_peer, defaults.http.connections_per_peer);
  EXPECT_EQ(config.http.connection_life, defaults.http.connection_life);
}

}  // namespace
}  // namespace bulkhead::broker
