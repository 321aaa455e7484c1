// SPDX-License-Identifier: Apache-2.0
#include "attest/toml/policy_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace bulkhead {
namespace {

const std::string kHex(64, 'a');

std::string message_for(const std::string& text) {
  PolicyError error;
  if (parse_policy(text, error)) return "<no error>";
  return std::to_string(error.line) + ": " + error.message;
}

Policy parsed(const std::string& text) {
  PolicyError error;
  auto policy = parse_policy(text, error);
  EXPECT_TRUE(policy.has_value()) << error.line << ": " << error.message;
  return policy.value_or(Policy{});
}

// Everything that a policy can say.
const std::string kWhole = R"(# A policy.
version = 1
isolation = "carved"
references = ["web-1", "web-2"]
max-quote-age-s = 120
hosts = [")" + kHex + R"("]
algorithms = ["ecdsa-sha384", "rsapss-sha256"]
[minimum-version]
monitor = "0.2"
image = "3.1.4"
[pcr.sha256]
7 = [")" + kHex + R"(", ")" +
                           std::string(64, '0') + R"("]
11 = ")" + kHex + R"("
[reference.web-1.sha256]
0 = ")" + kHex + R"("
4 = ")" + kHex + R"("
[reference.web-2.sha384]
0 = ")" + std::string(96, 'b') +
                           R"("
[secret."default/disk/key"]
isolation = "snp"
references = "web-2"
[secret."default/lab/token"]
allow-debug = true
allow-file-counter = true
hosts = ")" + std::string(64, 'c') +
                           R"("
[secret."default/lab/token".minimum-version]
vtpm = "1"
)";

TEST(PolicyFile, SaysEverything) {
  const Policy policy = parsed(kWhole);
  const Rules& general = policy.general;
  EXPECT_FALSE(general.allow_debug);
  EXPECT_FALSE(general.allow_file_counter);
  EXPECT_EQ(general.isolation, Isolation::kCarved);
  EXPECT_EQ(general.references, (std::vector<std::string>{"web-1", "web-2"}));
  EXPECT_EQ(general.max_quote_age_s, 120U);
  ASSERT_EQ(general.hosts.size(), 1U);
  EXPECT_EQ(to_hex(general.hosts[0]), kHex);
  EXPECT_EQ(general.algorithms, (std::vector<QuoteAlgorithm>{{TpmAlg::kEcdsa, TpmAlg::kSha384},
                                                             {TpmAlg::kRsapss, TpmAlg::kSha256}}));
  EXPECT_EQ(general.minimum_versions[Component::kMonitor], (Version{0, 2, 0}));
  EXPECT_EQ(general.minimum_versions[Component::kImage], (Version{3, 1, 4}));
  EXPECT_FALSE(general.minimum_versions[Component::kVtpm].has_value());
  EXPECT_EQ(general.pcrs.at({TpmAlg::kSha256, 7}).size(), 2U);
  EXPECT_EQ(general.pcrs.at({TpmAlg::kSha256, 11}).size(), 1U);
  ASSERT_EQ(policy.references.size(), 2U);
  EXPECT_EQ(policy.references.at("web-1").all().size(), 2U);
  EXPECT_EQ(*policy.references.at("web-2").find({TpmAlg::kSha384, 0}), Bytes(48, std::byte{0xbb}));
}

TEST(PolicyFile, ASecretTakesOverWhatItDoesNotSay) {
  const Policy policy = parsed(kWhole);
  const Rules* key = policy.rules_for("default/disk/key");
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->isolation, Isolation::kSnp);
  EXPECT_EQ(key->references, std::vector<std::string>{"web-2"});
  EXPECT_EQ(key->hosts, policy.general.hosts);
  EXPECT_TRUE(key->pcrs.empty());  // belong to the references, which it does say
  EXPECT_EQ(key->max_quote_age_s, 120U);
  EXPECT_FALSE(key->allow_debug);
  const Rules* token = policy.rules_for("default/lab/token");
  ASSERT_NE(token, nullptr);
  EXPECT_TRUE(token->allow_debug);
  EXPECT_TRUE(token->allow_file_counter);
  EXPECT_EQ(token->isolation, Isolation::kCarved);
  EXPECT_EQ(token->references, policy.general.references);
  EXPECT_EQ(token->pcrs, policy.general.pcrs);
  EXPECT_NE(token->hosts, policy.general.hosts);
  // A table takes the place of the whole general one.
  EXPECT_FALSE(token->minimum_versions[Component::kMonitor].has_value());
  EXPECT_EQ(token->minimum_versions[Component::kVtpm], (Version{1, 0, 0}));
  EXPECT_EQ(policy.rules_for("default/disk/kex"), nullptr);
}

TEST(PolicyFile, ASecretMayUndoAGeneralRule) {
  const Policy policy =
      parsed(kWhole + "[secret.\"a/b/c\"]\nhosts = \"any\"\nminimum-version = {}\n" +
             "pcr.sha256.7 = \"" + kHex + "\"\n");
  const Rules* rules = policy.rules_for("a/b/c");
  ASSERT_NE(rules, nullptr);
  EXPECT_TRUE(rules->hosts.empty());
  EXPECT_FALSE(rules->minimum_versions[Component::kMonitor].has_value());
  EXPECT_TRUE(rules->references.empty());
  EXPECT_EQ(rules->pcrs.size(), 1U);
}

TEST(PolicyFile, WhatIsNotSaidIsStrict) {
  const Policy policy =
      parsed("version = 1\nisolation = \"memfd\"\n[pcr.sha256]\n0 = \"" + kHex + "\"\n");
  EXPECT_FALSE(policy.general.allow_debug);
  EXPECT_EQ(policy.general.max_quote_age_s, 300U);
}

// A policy that is good but for the line that is put in at line 3.
std::string with(const std::string& line) {
  return "version = 1\nisolation = \"memfd\"\n" + line + "\n[pcr.sha256]\n0 = \"" + kHex + "\"\n";
}
std::string in_secret(const std::string& line) {
  return with("") + "[secret.\"a/b/c\"]\n" + line + "\n";
}

TEST(PolicyFile, UnknownKeysAreErrors) {
  EXPECT_EQ(message_for(with("")), "<no error>");
  EXPECT_EQ(message_for(with("hots = \"x\"")).substr(0, 24), "3: unknown key 'hots'; k");
  EXPECT_EQ(message_for(in_secret("version = 1")).substr(0, 27), "7: unknown key 'version'; k");
  EXPECT_EQ(message_for(with("max_quote_age_s = 3")).substr(0, 32),
            "3: unknown key 'max_quote_age_s'");
  EXPECT_EQ(message_for(with("minimum-version.kernel = \"1\"")),
            "3: unknown component 'kernel': monitor, vtpm or image");
  // No check of the code's can be named in a file.
  EXPECT_EQ(message_for(with("signature = false")).substr(0, 27), "3: unknown key 'signature';");
}

TEST(PolicyFile, WrongValuesAreErrorsWithTheirLine) {
  EXPECT_EQ(message_for(with("allow-debug = \"no\"")), "3: allow-debug must be true or false");
  EXPECT_EQ(message_for(with("allow-file-counter = 1")),
            "3: allow-file-counter must be true or false");
  EXPECT_EQ(message_for(with("max-quote-age-s = 0")),
            "3: max-quote-age-s must be a number of seconds from 1 to 604800");
  EXPECT_EQ(message_for(with("max-quote-age-s = 1e3")).substr(0, 21), "3: max-quote-age-s mu");
  EXPECT_EQ(message_for(with("hosts = [\n\"" + kHex + "\",\n\"ab\"]")),
            "5: 'ab' is not 64 hexadecimal digits");
  EXPECT_EQ(message_for(with("hosts = []")), "3: hosts is empty: it would accept nothing");
  EXPECT_EQ(message_for(with("hosts = [1]")), "3: hosts must be a string");
  EXPECT_EQ(message_for(with("hosts = [\"any\"]")), "3: 'any' is not 64 hexadecimal digits");
  EXPECT_EQ(message_for(with("algorithms = \"rsassa-sha1\"")).substr(0, 40),
            "3: 'rsassa-sha1' is not an algorithm: rs");
  EXPECT_EQ(message_for(with("minimum-version = \"1\"")),
            "3: minimum-version must be a table, like [minimum-version]");
  EXPECT_EQ(message_for(with("minimum-version.monitor = \"1.x\"")),
            "3: '1.x' is not a version like \"1.2.3\"");
  EXPECT_EQ(message_for(with("references = \"web\"")),
            "3: there is no [reference.web] in this file");
  EXPECT_EQ(message_for(in_secret("isolation = \"none\"")).substr(0, 39),
            "7: 'none' is not an isolation level: me");
}

TEST(PolicyFile, PcrsAreChecked) {
  const auto in_reference = [](const std::string& bank, const std::string& line) {
    return message_for(with("") + "[reference.x." + bank + "]\n" + line + "\n");
  };
  EXPECT_EQ(in_reference("sha256", "1 = \"" + kHex + "\""), "<no error>");
  EXPECT_EQ(in_reference("sha1", "1 = \"" + kHex.substr(24) + "\""),
            "6: 'sha1' is not a PCR bank: sha256, sha384 or sha512");
  EXPECT_EQ(in_reference("sha256", "24 = \"" + kHex + "\""), "7: '24' is not a PCR: 0 to 23");
  EXPECT_EQ(in_reference("sha256", "01 = \"" + kHex + "\""), "7: '01' is not a PCR: 0 to 23");
  EXPECT_EQ(in_reference("sha256", "-1 = \"" + kHex + "\""), "7: '-1' is not a PCR: 0 to 23");
  EXPECT_EQ(in_reference("sha256", "1 = \"" + kHex + "aa\"").substr(0, 5), "7: 'a");
  EXPECT_EQ(in_reference("sha256", "1 = [\"" + kHex + "\"]"), "7: a PCR's value must be a string");
  EXPECT_EQ(in_reference("sha256", ""), "6: x has no PCR values");
}

TEST(PolicyFile, NothingThatMattersIsLeftOpen) {
  EXPECT_EQ(message_for(""), "1: the format's version is missing: version = 1");
  EXPECT_EQ(message_for("version = 2"), "1: version must be 1");
  EXPECT_EQ(message_for("version = \"1\""), "1: version must be 1");
  EXPECT_EQ(message_for("version = 1\n[pcr.sha256]\n0 = \"" + kHex + "\""),
            "1: the policy needs an isolation level: isolation = \"memfd\" for any");
  EXPECT_EQ(message_for("version = 1\nisolation = \"memfd\"").substr(0, 37),
            "1: the policy accepts no measurement:");
  EXPECT_EQ(message_for("version = 1\n[secret.\"a/b/c\"]\nisolation = \"memfd\"").substr(0, 42),
            "2: secret 'a/b/c' accepts no measurement: ");
  // General rules may be incomplete where each secret completes them; alone they accept nothing.
  const Policy policy = parsed(
      "version = 1\n[secret.\"a/b/c\"]\nisolation = \"memfd\"\npcr.sha256.0 = \"" + kHex + "\"\n");
  EXPECT_NE(policy.rules_for("a/b/c"), nullptr);
  Claims claims;
  claims.isolation = Isolation::kTdx;
  claims.debug = false;
  claims.quote_age_s = 0;
  EXPECT_FALSE(evaluate(policy, std::nullopt, claims).accepted());
}

TEST(PolicyFile, NamesOfSecretsHaveThreeParts) {
  for (const char* name :
       {"a", "a/b", "a/b/c/d", "a//c", "/b/c", "a/b/", "a/../c", "a/b/c d", "a/b/c\\n", ""}) {
    const std::string text = with("") + "[secret.\"" + name + "\"]\n";
    EXPECT_NE(message_for(text).find("is not a secret's name"), std::string::npos) << name;
  }
  EXPECT_EQ(message_for(with("") + "[secret.\"a/B-1_2/c.d\"]\n"), "<no error>");
}

TEST(PolicyFile, WhatIsNoTomlIsAnError) {
  EXPECT_EQ(message_for("version = 1\nisolation = \n").substr(0, 18), "2: not valid TOML:");
  EXPECT_EQ(message_for(with("isolation = \"snp\"")).substr(0, 18), "3: not valid TOML:");
  EXPECT_EQ(message_for(with("\xc3\xa9 = 1")).substr(0, 27), "3: a letter beyond ASCII; w");
  EXPECT_EQ(message_for(std::string(kMaxPolicyBytes + 1, '#')), "0: larger than 1 MiB");
  EXPECT_NE(message_for(with("hosts = " + std::string(20000, '['))), "<no error>");
}

TEST(PolicyFile, TruncationNeverBreaksIt) {
  for (std::size_t size = 0; size < kWhole.size(); ++size) {
    PolicyError error;
    if (!parse_policy(std::string_view(kWhole).substr(0, size), error)) {
      EXPECT_FALSE(error.message.empty());
    }
  }
}

// The example of the documentation is one.
TEST(PolicyFile, TheDocumentedExampleIsGood) {
  std::ifstream file(std::string(BULKHEAD_SOURCE_DIR) + "/docs/formats/policy.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string fence = "```toml\n";
  std::size_t examples = 0;
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at)) {
    at += fence.size();
    const std::size_t end = text.find("```", at);
    EXPECT_EQ(message_for(text.substr(at, end - at)), "<no error>");
    at = end;
    ++examples;
  }
  EXPECT_GE(examples, 1U);
}

}  // namespace
}  // namespace bulkhead
