// SPDX-License-Identifier: Apache-2.0
// Quotes that TPMs made for other projects' tests.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "attest/quote_case_for_test.h"

namespace bulkhead {
namespace {

const std::filesystem::path kVectors = std::filesystem::path(BULKHEAD_VECTORS) / "tpm_quote";

#define SKIP_WITHOUT_VECTORS() \
  if (!std::filesystem::exists(kVectors)) GTEST_SKIP() << "no third-party vectors at " << kVectors

std::string text_of(const std::string& name) {
  std::ifstream file(kVectors / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes bytes_of(const std::string& name) {
  const std::string text = text_of(name);
  return copy_of(std::as_bytes(std::span(text)));
}

Bytes from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes bytes;
  unsigned bits = 0;
  unsigned count = 0;
  for (char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::byte>(bits >> count & 0xff));
  }
  return bytes;
}

// A quote with everything that there is to hold it against.
struct Vector {
  TpmPublic key;
  Bytes attest;
  Bytes signature;
  PcrValues pcrs;
  QuoteExpectation expectation;

  QuoteVerdict judge(const CheckSwitches& switches = {}) const {
    return verify_quote({.attest = attest, .signature = signature, .key = key, .pcrs = pcrs},
                        expectation, switches);
  }
};

// tpm2-tools' file of PCR values: the selection in 132 bytes, then lists of digests, in each a
// count and eight places of a size (16 bits) and 64 bytes, little-endian.
PcrValues keylime_pcrs() {
  const Bytes file = bytes_of("keylime/quotepcr.out");
  PcrValues values;
  std::size_t offset = 132 + 4 + 4;
  for (unsigned index : {15U, 16U, 22U}) {
    CHECK(values.set({TpmAlg::kSha256, index}, std::span(file).subspan(offset + 2, 32)));
    offset += 2 + 64;
  }
  return values;
}

Vector keylime() {
  Vector vector;
  vector.key = parse_tpm2b_public(bytes_of("keylime/ak.pub")).value();
  vector.attest = bytes_of("keylime/quote.out");
  vector.signature = bytes_of("keylime/quotesig.out");
  vector.pcrs = keylime_pcrs();
  const TpmPublic ek = parse_tpm2b_public(bytes_of("keylime/ek.pub")).value();
  vector.expectation.parent_name = qualified_name(ek, endorsement_hierarchy()).value();
  vector.expectation.challenge = Challenge{bytes_of("keylime/rand.out"), {}};
  vector.expectation.pcrs = {{TpmAlg::kSha256, 1U << 15 | 1U << 16 | 1U << 22}};
  return vector;
}

// Its key is a SubjectPublicKeyInfo of RSA-2048, in which the modulus begins at 33; the key's
// template is tpm2-tools'. The nonce is whatever the quote has.
Vector trustee() {
  const auto json = nlohmann::json::parse(text_of("trustee/tpm_evidence.json"));
  const auto& quote = json["tpm_quote"];
  Vector vector;
  vector.attest = from_base64(quote["message"].get<std::string>());
  vector.signature = from_base64(quote["signature"].get<std::string>());
  const Bytes key_info = from_base64(json["ak_public"].get<std::string>());
  vector.key.attributes = kAttestationKeyAttributes;
  vector.key.scheme = TpmAlg::kRsassa;
  vector.key.scheme_hash = TpmAlg::kSha256;
  vector.key.key = TpmRsaKey{2048, 0, copy_of(std::span(key_info).subspan(33, 256))};
  unsigned index = 0;
  for (const auto& value : quote["pcrs"]) {
    const Bytes bytes = decode_hex(value.get<std::string>()).value();
    CHECK(vector.pcrs.set({TpmAlg::kSha256, index++}, bytes));
  }
  vector.expectation.challenge = Challenge{parse_tpm_quote(vector.attest).value().extra_data, {}};
  vector.expectation.pcrs = {{TpmAlg::kSha256, 0xffffff}};
  return vector;
}

std::string refusal(const Vector& vector) {
  const QuoteVerdict verdict = vector.judge();
  const Finding* finding = verdict.report.refusal();
  return finding == nullptr ? "none" : to_string(finding->check);
}

TEST(ThirdPartyQuotes, NamesAreWhatTheTpmSays) {
  SKIP_WITHOUT_VECTORS();
  EXPECT_EQ(tpm_name(keylime().key).value(), bytes_of("keylime/ak.name"));
  EXPECT_EQ(attestation_key_faults(keylime().key), "");
  const TpmPublic ek = parse_tpm2b_public(bytes_of("keylime/ek.pub")).value();
  EXPECT_EQ(attestation_key_faults(ek), "not sign, decrypt");
  const Bytes file = bytes_of("keylime/ek.pub");
  EXPECT_EQ(serialize(ek), copy_of(std::span(file).subspan(2)));
}

TEST(ThirdPartyQuotes, KeylimesIsGoodInEveryCheck) {
  SKIP_WITHOUT_VECTORS();
  const QuoteVerdict verdict = keylime().judge();
  for (const Finding& finding : verdict.report.findings()) {
    EXPECT_EQ(finding.outcome, CheckOutcome::kPassed) << to_line(finding);
  }
  ASSERT_TRUE(verdict.quote.has_value());
  EXPECT_EQ(verdict.quote->clock.clock_ms, 0x176aU);
  EXPECT_EQ(encode(*verdict.quote), keylime().attest);
}

TEST(ThirdPartyQuotes, TrusteesIsGoodInAllThatIsKnown) {
  SKIP_WITHOUT_VECTORS();
  const QuoteVerdict verdict = trustee().judge();
  EXPECT_TRUE(verdict.report.accepted());
  for (const Finding& finding : verdict.report.findings()) {
    const bool unknown = finding.check == Check::kQualifiedSigner;
    EXPECT_EQ(finding.outcome, unknown ? CheckOutcome::kNotApplicable : CheckOutcome::kPassed)
        << to_line(finding);
  }
}

TEST(ThirdPartyQuotes, RustKeylimesIsOfSha1) {
  SKIP_WITHOUT_VECTORS();
  std::string text = text_of("rust-keylime/test-quote.txt");
  ASSERT_EQ(text.front(), 'r');
  std::istringstream parts(text.substr(1));
  std::string attest;
  std::string signature;
  std::getline(parts, attest, ':');
  std::getline(parts, signature, ':');
  Vector vector = trustee();
  vector.attest = from_base64(attest);
  vector.signature = from_base64(signature);
  EXPECT_EQ(encode(parse_tpm_quote(vector.attest).value()), vector.attest);
  EXPECT_EQ(parse_tpm_signature(vector.signature).value().hash, TpmAlg::kSha1);
  EXPECT_EQ(refusal(vector), "algorithm");
}

TEST(ThirdPartyQuotes, ChangesAreRefusedForTheirReason) {
  SKIP_WITHOUT_VECTORS();
  for (const Vector& good : {keylime(), trustee()}) {
    EXPECT_EQ(refusal(good), "none");
    Vector bad = good;
    bad.key.attributes |= tpma_object::kDecrypt;
    EXPECT_EQ(refusal(bad), "key-attributes");
    bad = good;
    bad.expectation.algorithms = {{TpmAlg::kRsassa, TpmAlg::kSha384}};
    EXPECT_EQ(refusal(bad), "algorithm");
    bad = good;
    bad.signature.back() ^= std::byte{1};
    EXPECT_EQ(refusal(bad), "signature");
    bad = good;
    bad.key = keylime().key == good.key ? trustee().key : keylime().key;
    EXPECT_EQ(refusal(bad), "signature");
    bad = good;
    bad.expectation.parent_name = endorsement_hierarchy();  // a primary key, which it is not
    EXPECT_EQ(refusal(bad), "qualified-signer");
    bad = good;
    bad.expectation.challenge->nonce.back() ^= std::byte{1};
    EXPECT_EQ(refusal(bad), "nonce");
    bad = good;
    bad.expectation.pcrs.push_back({TpmAlg::kSha384, 1});
    EXPECT_EQ(refusal(bad), "pcr-selection");
    bad = good;
    bad.pcrs = {};
    EXPECT_EQ(refusal(bad), "pcr-digest");
  }
}

TEST(ThirdPartyQuotes, NoBitOfKeylimesMayFlip) {
  SKIP_WITHOUT_VECTORS();
  const Vector good = keylime();
  for (std::size_t bit = 0; bit < 8 * good.attest.size(); ++bit) {
    Vector bad = good;
    bad.attest[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_EQ(refusal(bad), "signature") << "bit " << bit;
  }
}

}  // namespace
}  // namespace bulkhead
