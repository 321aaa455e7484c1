// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/luks_header.h"

#include <gtest/gtest.h>

#include <functional>

#include "broker/strict_json.h"
#include "broker/testing/shell.h"

namespace bulkhead::agent {
namespace {

using broker::Json;

// As cryptsetup 2.6.1 prints one.
Json good_header() {
  return Json::parse(R"({
    "keyslots": {"0": {"type": "luks2", "key_size": 64,
                       "af": {"type": "luks1", "stripes": 4000, "hash": "sha256"},
                       "area": {"type": "raw", "offset": "32768", "size": "258048",
                                "encryption": "aes-xts-plain64", "key_size": 64},
                       "kdf": {"type": "argon2id", "time": 4, "salt": "H3k="}}},
    "tokens": {},
    "segments": {"0": {"type": "crypt", "offset": "16777216", "size": "dynamic", "iv_tweak": "0",
                       "encryption": "aes-xts-plain64", "sector_size": 4096}},
    "digests": {"0": {"type": "pbkdf2", "keyslots": ["0"], "segments": ["0"]}},
    "config": {"json_size": "12288", "keyslots_size": "16744448"}})");
}

std::string faults_after(const std::function<void(Json&)>& change) {
  Json header = good_header();
  change(header);
  return luks_header_faults(header.dump());
}

TEST(LuksHeader, AnUsualOneIsGood) {
  EXPECT_EQ(luks_header_faults(good_header().dump()), "");
}

TEST(LuksHeader, CiphersThatHideNothingAreRefused) {
  for (const char* cipher : {"cipher_null-ecb", "cipher_null", "null", "", "aes-ecb",
                             "aes-cbc-plain", "AES-XTS-PLAIN64", "aes-xts-plain64 "}) {
    EXPECT_NE(
        faults_after([&](Json& header) { header["keyslots"]["0"]["area"]["encryption"] = cipher; }),
        "")
        << cipher;
    EXPECT_NE(faults_after([&](Json& header) { header["segments"]["0"]["encryption"] = cipher; }),
              "")
        << cipher;
  }
  // One bad keyslot beside a good one is one that opens.
  EXPECT_NE(faults_after([](Json& header) {
              header["keyslots"]["1"] = header["keyslots"]["0"];
              header["keyslots"]["1"]["area"]["encryption"] = "cipher_null-ecb";
            }),
            "");
}

TEST(LuksHeader, WhatIsLeftOutIsRefused) {
  for (const char* part : {"keyslots", "segments", "config"}) {
    EXPECT_NE(faults_after([&](Json& header) { header.erase(part); }), "") << part;
    EXPECT_NE(faults_after([&](Json& header) { header[part] = 1; }), "") << part;
  }
  EXPECT_NE(faults_after([](Json& header) { header["segments"] = Json::object(); }), "");
  EXPECT_NE(faults_after([](Json& header) { header["keyslots"] = Json::object(); }), "");
  EXPECT_NE(faults_after([](Json& header) { header["segments"]["0"]["type"] = "linear"; }), "");
  EXPECT_NE(faults_after([](Json& header) { header["keyslots"]["0"]["type"] = "reencrypt"; }), "");
  EXPECT_NE(faults_after([](Json& header) { header["keyslots"]["0"].erase("area"); }), "");
  EXPECT_NE(faults_after([](Json& header) { header["keyslots"]["0"]["kdf"]["type"] = "none"; }),
            "");
  EXPECT_NE(faults_after([](Json& header) {
              header["config"]["requirements"]["mandatory"] = {"online-reencrypt"};
            }),
            "");
  for (const char* text : {"", "{}", "[]", "null", "x"}) EXPECT_NE(luks_header_faults(text), "");
}

TEST(LuksHeader, WhatTheStockToolMakesIsGood) {
  if (!broker::have("cryptsetup")) GTEST_SKIP() << "no cryptsetup";
  const broker::TempDir dir;
  const std::string image = "'" + (dir / "image") + "'";
  const auto made =
      broker::shell("truncate -s 32M " + image +
                    " && echo -n key | cryptsetup luksFormat --type luks2 --batch-mode --pbkdf "
                    "pbkdf2 --pbkdf-force-iterations 1000 --key-file=- " +
                    image + " && cryptsetup luksDump --dump-json-metadata " + image);
  ASSERT_EQ(made.status, 0);
  EXPECT_EQ(luks_header_faults(made.out), "") << made.out;
}

}  // namespace
}  // namespace bulkhead::agent
