// SPDX-License-Identifier: Apache-2.0
#include "attest/json/attestation_result.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attest/evidence_case_for_test.h"
#include "base/base64.h"

namespace bulkhead {
namespace {

using Json = nlohmann::json;

// A key in PEM, and the half of it that checks.
struct TokenKey {
  TokenKey() : pair(EVP_EC_gen("P-256")) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, pair.get(), nullptr, nullptr, 0, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    key.emplace(SigningKey::from_pem(std::as_bytes(std::span(text, static_cast<std::size_t>(size))))
                    .value());
    BIO_free(bio);
  }

  PublicKey verifier() const {
    Bytes point(65);
    std::size_t size = 0;
    EVP_PKEY_get_octet_string_param(pair.get(), "encoded-pub-key",
                                    openssl_bytes(std::span<std::byte>(point)), point.size(),
                                    &size);
    const auto bytes = std::span(point);
    return PublicKey::create(PublicKey::Point{.curve = Curve::kP256,
                                              .x = bytes.subspan(1, 32),
                                              .y = bytes.subspan(33, 32)})
        .value();
  }

  AuthorityForTest::Key pair;
  std::optional<SigningKey> key;
};

Json decoded(std::string_view part) {
  const Bytes bytes = decode_base64(Base64::kUrl, part).value();
  return Json::parse(bytes.begin(), bytes.end());
}

// The token of a case, taken apart; its signature has been checked.
Json token_of(const EvidenceCase& shown, bool with_nonce = true) {
  static const TokenKey key;
  EvidenceExpectation expectation = shown.expectation();
  if (!with_nonce) {
    expectation.challenge.reset();
    expectation.asked_s_ago.reset();
  }
  const EvidenceVerdict verdict = verify_evidence(shown.evidence(), expectation);
  const ResultContext context{
      .verifier = "bulkhead 9", .policy = {}, .now = shown.now, .expectation = expectation};
  const std::string token = result_token(verdict, context, *key.key).value();
  const std::size_t last = token.rfind('.');
  const std::string_view message = std::string_view(token).substr(0, last);
  const Bytes signature =
      decode_base64(Base64::kUrl, std::string_view(token).substr(last + 1)).value();
  EXPECT_EQ(signature.size(), 64U);
  EXPECT_TRUE(key.verifier()
                  .verify({.scheme = SignatureScheme::kEcdsa,
                           .hash = HashAlgorithm::kSha256,
                           .first = std::span(signature).first(32),
                           .second = std::span(signature).last(32)},
                          std::as_bytes(std::span(message)))
                  .value());
  EXPECT_EQ(decoded(message.substr(0, message.find('.'))),
            (Json{{"alg", "ES256"}, {"typ", "JWT"}}));
  return decoded(message.substr(message.find('.') + 1));
}

TEST(AttestationResult, Affirms) {
  const EvidenceCase good;
  const Json token = token_of(good);
  EXPECT_EQ(token["eat_profile"], "tag:github.com,2023:veraison/ear");
  EXPECT_EQ(token["iat"], good.now.time_since_epoch().count());
  EXPECT_EQ(token["eat_nonce"], encode_base64(Base64::kUrl, good.challenge.nonce));
  EXPECT_EQ(token["ear.verifier-id"]["build"], "bulkhead 9");
  const Json& appraisal = token["submods"]["partition"];
  EXPECT_EQ(appraisal["ear.status"], "affirming");
  for (const auto& value : appraisal["ear.trustworthiness-vector"]) EXPECT_EQ(value, 2);
  const Json& result = appraisal["bulkhead.result"];
  EXPECT_EQ(result["accepted"], true);
  EXPECT_EQ(result["fresh"], true);
  EXPECT_EQ(result["partition"]["isolation"], "carved");
  EXPECT_EQ(result["partition"]["host"]["kind"], "tpm");
  EXPECT_EQ(result["partition"]["requester_key"],
            encode_base64(Base64::kUrl, Bytes(32, std::byte{0x22})));
  EXPECT_EQ(result["findings"].size(), kCheckCount);
}

TEST(AttestationResult, WarnsOfWhatMayBeReplayed) {
  const Json token = token_of(EvidenceCase(), false);
  EXPECT_FALSE(token.contains("eat_nonce"));
  const Json& appraisal = token["submods"]["partition"];
  EXPECT_EQ(appraisal["ear.status"], "warning");
  EXPECT_EQ(appraisal["bulkhead.result"]["fresh"], false);
  EXPECT_FALSE(appraisal["bulkhead.result"]["partition"].contains("requester_key"));
}

TEST(AttestationResult, SaysWhyNot) {
  EvidenceCase bad;
  bad.facts.config.debug = true;
  const Json appraisal = token_of(bad)["submods"]["partition"];
  EXPECT_EQ(appraisal["ear.status"], "contraindicated");
  const Json& vector = appraisal["ear.trustworthiness-vector"];
  EXPECT_EQ(vector["configuration"], 96);
  EXPECT_EQ(vector["instance-identity"], 2);
  EXPECT_EQ(vector["executables"], 2);
  const Json& result = appraisal["bulkhead.result"];
  EXPECT_EQ(result["accepted"], false);
  EXPECT_EQ(result["reason"], "debug");
  EXPECT_FALSE(result.contains("partition"));
}

// Nothing stands that a bad quote would have to carry.
TEST(AttestationResult, ABadQuoteSpoilsAll) {
  EvidenceCase bad;
  bad.quoted_challenge.nonce.back() ^= std::byte{1};
  const Json vector = token_of(bad)["submods"]["partition"]["ear.trustworthiness-vector"];
  EXPECT_EQ(vector["configuration"], 96);
  EXPECT_EQ(vector["executables"], 96);
}

// Letters of the command line are the partition's to choose.
TEST(AttestationResult, IsAlwaysJson) {
  EvidenceCase odd;
  odd.facts.command_line = "a=\"\xff\x01\n";
  odd.policy.general.references.clear();
  odd.policy.general.pcrs[{TpmAlg::kSha256, 0}] = {
      *odd.policy.references["image"].find({TpmAlg::kSha256, 0})};
  const Json result = token_of(odd)["submods"]["partition"]["bulkhead.result"];
  ASSERT_EQ(result["accepted"], true);
  EXPECT_EQ(result["partition"]["command_line"], "a=\"???");
}

}  // namespace
}  // namespace bulkhead
