// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/ephemeral_key.h"

#include <gtest/gtest.h>

#include <functional>

#include "agent/protocol/messages.h"
#include "base/base64.h"
#include "broker/jwe.h"

namespace bulkhead::agent {
namespace {

using broker::Json;

std::string text_of(const Result<SecretBytes>& secret) {
  return secret ? std::string(broker::text_of(secret->bytes())) : std::string();
}

class EphemeralKeyTest : public ::testing::Test {
 protected:
  // What the broker sends to this key.
  Json sent(std::string_view secret = "alice's disk") const {
    const auto bytes = SecretBytes::copy_of(broker::bytes_of(secret));
    const auto key = broker::RequesterKey::parse(key_.jwk());
    return Json::parse(*broker::encrypt_to(*key, *bytes));
  }
  Result<SecretBytes> open(const Json& jwe) const { return key_.open(jwe.dump()); }
  // With another protected header.
  Json with_header(const std::function<void(Json&)>& change) const {
    Json jwe = sent();
    const auto text = decode_base64(Base64::kUrl, jwe["protected"].get<std::string>());
    Json header = Json::parse(broker::text_of(*text));
    change(header);
    jwe["protected"] = encode_base64(Base64::kUrl, broker::bytes_of(header.dump()));
    return jwe;
  }

  const EphemeralKey key_ = EphemeralKey::generate().value();
};

TEST_F(EphemeralKeyTest, OpensWhatTheBrokerSends) {
  EXPECT_EQ(text_of(open(sent())), "alice's disk");
  const std::string large(8192, '\xff');
  EXPECT_EQ(text_of(open(sent(large))), large);
  EXPECT_FALSE(open(sent(large + "x")));
}

TEST_F(EphemeralKeyTest, IsNamedAsTheBrokerNamesIt) {
  EXPECT_EQ(broker::RequesterKey::parse(key_.jwk())->thumbprint(), key_.thumbprint());
  EXPECT_NE(EphemeralKey::generate()->thumbprint(), key_.thumbprint());
  EXPECT_FALSE(key_.jwk().contains("d"));
}

TEST_F(EphemeralKeyTest, AnotherKeyDoesNotOpenIt) {
  EXPECT_FALSE(EphemeralKey::generate()->open(sent().dump()));
}

TEST_F(EphemeralKeyTest, NothingInItCanBeChanged) {
  const Json good = sent();
  for (const char* part : {"protected", "encrypted_key", "iv", "ciphertext", "tag"}) {
    Bytes bytes = *decode_base64(Base64::kUrl, good[part].get<std::string>());
    for (const std::size_t at : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      Json jwe = good;
      bytes[at] ^= std::byte{1};
      jwe[part] = encode_base64(Base64::kUrl, bytes);
      bytes[at] ^= std::byte{1};
      EXPECT_FALSE(open(jwe)) << part << at;
    }
    Json jwe = good;
    jwe[part] = encode_base64(Base64::kUrl, std::span(bytes).first(bytes.size() - 1));
    EXPECT_FALSE(open(jwe)) << part;
    jwe.erase(part);
    EXPECT_FALSE(open(jwe)) << part;
    jwe[part] = 1;
    EXPECT_FALSE(open(jwe)) << part;
  }
  EXPECT_TRUE(open(good));
}

TEST_F(EphemeralKeyTest, EveryTruncationIsRefused) {
  const std::string text = sent().dump();
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_FALSE(key_.open(text.substr(0, i))) << i;
  EXPECT_FALSE(key_.open(text + "{}"));
}

// A server that is not the broker has no say in how a secret is encrypted.
TEST_F(EphemeralKeyTest, AlgorithmsAreNotTheSendersToChoose) {
  for (const char* algorithm : {"dir", "none", "A256KW", "ECDH-ES", "ECDH-ES+A128KW", "RSA1_5"}) {
    EXPECT_FALSE(open(with_header([&](Json& header) { header["alg"] = algorithm; }))) << algorithm;
  }
  EXPECT_FALSE(open(with_header([](Json& header) { header["enc"] = "A128GCM"; })));
  EXPECT_FALSE(open(with_header([](Json& header) { header["zip"] = "DEF"; })));
  EXPECT_FALSE(open(with_header([](Json& header) { header["crit"] = {"exp"}; })));
  EXPECT_FALSE(open(with_header([](Json& header) { header.erase("epk"); })));
  EXPECT_FALSE(open(with_header([](Json& header) { header["epk"]["crv"] = "P-384"; })));
  // A point that is not on the curve could tell something of our key.
  EXPECT_FALSE(open(with_header([](Json& header) { header["epk"]["y"] = header["epk"]["x"]; })));
  Json with_more = sent();
  with_more["aad"] = "";
  EXPECT_FALSE(open(with_more));
}

TEST(Messages, AChallengeHasANonce) {
  EXPECT_EQ(*parse_challenge(R"({"nonce": "AAECAwQFBgc=", "extra-params": ""})"),
            (Bytes{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                   std::byte{5}, std::byte{6}, std::byte{7}}));
  for (const char* body :
       {"", "{}", "[]", R"({"nonce": 7})", R"({"nonce": null})", R"({"nonce": ["AAECAwQFBgc="]})",
        R"({"nonce": "AAECAwQFBg=="})", R"({"nonce": "AAECAwQFBgc"})", R"({"nonce": "!"})",
        R"({"nonce": "AAECAwQFBgc=", "nonce": "AAECAwQFBgc="})"}) {
    EXPECT_FALSE(parse_challenge(body)) << body;
  }
  const std::string long_one = encode_base64(Base64::kStandard, Bytes(65));
  EXPECT_FALSE(parse_challenge(R"({"nonce": ")" + long_one + "\"}"));
}

TEST(Messages, ARefusalIsPrintable) {
  const Refusal refusal = parse_refusal(
      R"({"type": "urn:bulkhead:broker:policy", "detail": "not \u001b[2Jthis\n",
          "reasons": [{"check": "debug", "text": "FAILED debug: seen yes"}, {"text": 7}, 8]})");
  EXPECT_EQ(refusal.kind, "policy");
  EXPECT_EQ(refusal.detail, "not ?[2Jthis?");
  EXPECT_EQ(refusal.reasons, std::vector<std::string>{"FAILED debug: seen yes"});
  const Refusal other = parse_refusal("<html>502 Bad Gateway</html>");
  EXPECT_EQ(other.kind + other.detail, "");
  EXPECT_TRUE(other.reasons.empty());
  Json many{{"type", 1}, {"detail", std::string(10'000, 'x')}, {"reasons", Json::array()}};
  for (int i = 0; i < 1000; ++i) many["reasons"].push_back({{"text", "x"}});
  const Refusal bounded = parse_refusal(many.dump());
  EXPECT_EQ(bounded.detail.size(), 1024u);
  EXPECT_EQ(bounded.reasons.size(), 32u);
}

}  // namespace
}  // namespace bulkhead::agent
