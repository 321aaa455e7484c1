// SPDX-License-Identifier: Apache-2.0
#include "attest/json/evidence_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attest/evidence_case_for_test.h"
#include "attest/plain_evidence.h"

namespace bulkhead {
namespace {

using Json = nlohmann::json;

std::string error_of(const std::string& text) {
  std::string error = "no error";
  const auto evidence = parse_evidence(text, error);
  // The short way changes nothing.
  std::string same_error = "no error";
  EXPECT_TRUE(parse_evidence_of_any_form(text, same_error) == evidence);
  EXPECT_EQ(same_error, error);
  return evidence ? "" : error;
}

const std::string& good_text() {
  static const std::string text = write_evidence(EvidenceCase().evidence());
  return text;
}

// What is refused when one thing is changed.
template <class Change>
std::string error_after(Change change) {
  Json json = Json::parse(good_text());
  change(json);
  return error_of(json.dump());
}

TEST(EvidenceJson, ComesBack) {
  Evidence evidence = EvidenceCase().evidence();
  for (int i = 0; i < 2; ++i) {
    std::string error;
    const auto again = parse_evidence(write_evidence(evidence), error);
    ASSERT_TRUE(again) << error;
    EXPECT_TRUE(*again == evidence);
    EXPECT_EQ(write_evidence(*again), write_evidence(evidence));
    evidence.requester_key.reset();
  }
}

TEST(EvidenceJson, KnowsItsKeys) {
  for (const char* key :
       {"eat_profile", "eat_nonce", "quote", "pcrs", "event_log", "certificates"}) {
    EXPECT_EQ(error_after([&](Json& json) { json.erase(key); }),
              "the evidence lacks '" + std::string(key) + "'");
  }
  EXPECT_EQ(error_after([](Json& json) { json.erase("requester_key"); }), "");
  EXPECT_EQ(error_after([](Json& json) { json["isolation"] = "snp"; }),
            "the evidence has the unknown key 'isolation'");
  EXPECT_EQ(error_after([](Json& json) { json["x\n\x1b[2J"] = 1; }),
            "the evidence has the unknown key (unprintable)");
  EXPECT_EQ(error_after([](Json& json) { json["quote"]["more"] = 1; }),
            "'quote' has the unknown key 'more'");
  EXPECT_EQ(error_after([](Json& json) { json["quote"].erase("key"); }), "'quote' lacks 'key'");
}

TEST(EvidenceJson, KnowsItsTypes) {
  for (const char* key : {"eat_profile", "eat_nonce", "event_log", "requester_key"}) {
    EXPECT_EQ(error_after([&](Json& json) { json[key] = 1; }),
              "'" + std::string(key) + "' is no string");
  }
  EXPECT_EQ(error_after([](Json& json) { json["quote"] = "x"; }), "'quote' is no object");
  EXPECT_EQ(error_after([](Json& json) { json["pcrs"] = Json::array(); }), "'pcrs' is no object");
  EXPECT_EQ(error_after([](Json& json) { json["certificates"] = "x"; }),
            "'certificates' is no array");
  EXPECT_EQ(error_after([](Json& json) { json["certificates"][0] = nullptr; }),
            "'certificates' is no string");
  EXPECT_EQ(error_after([](Json& json) { json["eat_profile"] = "tag:other"; }),
            "'eat_profile' is not " + std::string(kEvidenceProfile));
}

TEST(EvidenceJson, BoundsItsValues) {
  EXPECT_EQ(error_after([](Json& json) { json["eat_nonce"] = "AAAA"; }),
            "'eat_nonce' has 3 bytes, not 8 to 64");
  EXPECT_EQ(error_after([](Json& json) { json["eat_nonce"] = "AAAAAAAAAAAA="; }),
            "'eat_nonce' is not base64url without padding");
  EXPECT_EQ(error_after([](Json& json) { json["requester_key"] = std::string(40, 'A'); }),
            "'requester_key' has 30 bytes, not 32 to 32");
  EXPECT_EQ(error_after([](Json& json) { json["quote"]["attest"] = std::string(8000, 'A'); }),
            "'attest' has 6000 bytes, not 1 to 4096");
  EXPECT_EQ(error_after([](Json& json) { json["event_log"] = ""; }),
            "'event_log' has 0 bytes, not 1 to 1048576");
  EXPECT_EQ(
      error_after([](Json& json) { json["certificates"] = std::vector<std::string>(9, "AAAA"); }),
      "there are more than 8 certificates");
  EXPECT_NE(error_after([](Json& json) {
              json["quote"]["key"] = "AAAA";
            }).find("'key' is no TPM2B_PUBLIC"),
            std::string::npos);
}

TEST(EvidenceJson, ReadsPcrsInOneFormOnly) {
  const auto with = [](const char* bank, const char* index, const Json& value) {
    return error_after([&](Json& json) { json["pcrs"][bank][index] = value; });
  };
  const std::string digest(64, 'a');
  EXPECT_EQ(with("sha256", "11", digest), "");
  EXPECT_EQ(with("sha256", "24", digest), "'24' is no PCR: 0 to 23");
  EXPECT_EQ(with("sha256", "04", digest), "'04' is no PCR: 0 to 23");
  EXPECT_EQ(with("sha256", "-1", digest), "'-1' is no PCR: 0 to 23");
  EXPECT_EQ(with("sha256", "", digest), "(unprintable) is no PCR: 0 to 23");
  EXPECT_EQ(with("sha3", "1", digest), "'pcrs' has the unknown bank 'sha3'");
  EXPECT_EQ(with("sha256", "11", "xy"), "the value of PCR '11' is not hexadecimal");
  EXPECT_EQ(with("sha256", "11", 5), "the value of PCR '11' is no string");
  EXPECT_NE(with("sha384", "1", digest).find("PCR '1': "), std::string::npos);
}

TEST(EvidenceJson, GoesTheShortWay) {
  const Evidence evidence = EvidenceCase().evidence();
  EXPECT_TRUE(parse_plain_evidence(write_evidence(evidence)).value() == evidence);
  // In another order, and without spaces.
  const Json json = Json::parse(write_evidence(evidence));
  EXPECT_TRUE(parse_plain_evidence(json.dump()).value() == evidence);
  for (const char* key : {"eat_nonce", "eat_profile", "quote", "pcrs", "event_log"}) {
    Json less = json;
    less.erase(key);
    EXPECT_FALSE(parse_plain_evidence(less.dump())) << key;
  }
}

// The same text with an escape in it means the same, and goes the long way.
TEST(EvidenceJson, LeavesEscapesToTheLongWay) {
  for (const char* name : {"quote", "eat_profile", "sha256", "urn:oid"}) {
    std::string text = good_text();
    const std::size_t place = text.find(name) + 1;
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(text[place]));
    text.replace(place, 1, escape);
    EXPECT_FALSE(parse_plain_evidence(text)) << name;
    EXPECT_EQ(error_of(text), "") << name;
  }
}

TEST(EvidenceJson, ShortWayReadsToTheEnd) {
  const std::string text = good_text().substr(0, good_text().rfind('}') + 1);
  ASSERT_TRUE(parse_plain_evidence(text));
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(parse_plain_evidence(std::string_view(text).substr(0, size))) << size;
  }
  EXPECT_FALSE(parse_plain_evidence(text + "x"));
  EXPECT_FALSE(parse_plain_evidence(text + std::string(1, '\0')));
}

// Whatever byte is another one, both ways see the same.
TEST(EvidenceJson, EveryByteCountsForBothWays) {
  std::string text = good_text();
  for (std::size_t i = 0; i < text.size(); i += 29) {
    const char good = text[i];
    for (const char bad : {'"', '\\', ' ', ',', 'A', '0', '}', '\x01', '\xc3'}) {
      text[i] = bad;
      error_of(text);
    }
    text[i] = good;
  }
}

// Two readers of one text must not see different things.
TEST(EvidenceJson, TakesNoKeyTwice) {
  const std::string& good = good_text();
  const std::string again = R"({"eat_profile": "x", )" + good.substr(good.find('{') + 1);
  EXPECT_EQ(error_of(again), "the key 'eat_profile' comes twice");
  std::string inside = good;
  inside.insert(inside.find("\"attest\""), R"("attest": "AAAA", )");
  EXPECT_EQ(error_of(inside), "the key 'attest' comes twice");
  // The same name in two objects is none.
  EXPECT_EQ(error_after([](Json& json) { json["pcrs"]["sha1"]["0"] = std::string(40, '0'); }), "");
}

TEST(EvidenceJson, RefusesWhatIsNoJson) {
  const std::string& good = good_text();
  for (std::size_t size = 0; size + 2 < good.size(); size += 97) {
    EXPECT_NE(error_of(good.substr(0, size)), "");
  }
  EXPECT_NE(error_of(good + "{}"), "");
  EXPECT_EQ(error_of("[]"), "it is no JSON object");
  EXPECT_EQ(error_of("\xff\xfe"), "it is not valid JSON, at byte 1");
  EXPECT_EQ(error_of(std::string(kMaxEvidenceBytes + 1, ' ')), "it is larger than 1048576 bytes");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  EXPECT_EQ(error_of(deep), "it is nested too deeply");
  EXPECT_EQ(error_of(std::string(100000, '[')), "it is nested too deeply");
  EXPECT_EQ(error_of("{\"eat_nonce\": \"\xc3\x28\"}").find("it is not valid JSON"), 0U);
}

}  // namespace
}  // namespace bulkhead
