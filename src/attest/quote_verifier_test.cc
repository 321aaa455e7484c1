// SPDX-License-Identifier: Apache-2.0
#include "attest/quote_verifier.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "attest/quote_case_for_test.h"

namespace bulkhead {
namespace {

std::string lines(const Report& report) {
  std::string text;
  for (const Finding& finding : report.findings()) text += to_line(finding) + "\n";
  return text;
}

std::vector<Check> failures(const Report& report) {
  std::vector<Check> failed;
  for (const Finding& finding : report.findings()) {
    if (finding.outcome == CheckOutcome::kFailed) failed.push_back(finding.check);
  }
  return failed;
}

// The defence and its control: refused for this reason alone, and accepted without this check.
template <class Judge>
void expect_refused_by(Check check, const Judge& judge) {
  const QuoteVerdict refused = judge(CheckSwitches{});
  EXPECT_FALSE(refused.report.accepted());
  EXPECT_EQ(failures(refused.report), std::vector{check}) << lines(refused.report);
  EXPECT_FALSE(refused.quote.has_value());
  EXPECT_TRUE(refused.pcrs.all().empty());
  const QuoteVerdict accepted = judge(CheckSwitchesForTest::without({check}));
  EXPECT_TRUE(accepted.report.accepted()) << lines(accepted.report);
}
void expect_refused_by(Check check, const QuoteCase& quote_case) {
  expect_refused_by(check,
                    [&](const CheckSwitches& switches) { return quote_case.judge(switches); });
}

TEST(QuoteVerifier, AcceptsAGoodQuote) {
  const QuoteCase good;
  const QuoteVerdict verdict = good.judge();
  EXPECT_TRUE(verdict.report.accepted()) << lines(verdict.report);
  EXPECT_EQ(verdict.report.findings().size(), 10U);
  for (const Finding& finding : verdict.report.findings()) {
    EXPECT_EQ(finding.outcome, CheckOutcome::kPassed) << to_line(finding);
  }
  EXPECT_EQ(verdict.report.refusal(), nullptr);
  ASSERT_TRUE(verdict.quote.has_value());
  EXPECT_EQ(*verdict.quote, good.quote);
  EXPECT_EQ(verdict.pcrs.all(), good.pcrs.all());
}

TEST(QuoteVerifier, AcceptsEveryAlgorithmAndKeySize) {
  for (QuoteAlgorithm algorithm : quote_algorithms()) {
    const bool ecc = algorithm.scheme == TpmAlg::kEcdsa;
    for (unsigned size : {ecc ? 256U : 2048U, ecc ? 384U : 3072U}) {
      const FakeKey key(algorithm, size);
      const QuoteCase quote_case(key);
      EXPECT_TRUE(quote_case.judge().report.accepted()) << to_string(algorithm) << " " << size;
    }
  }
}

TEST(QuoteVerifier, EachBadAttributeOfTheKey) {
  for (std::uint32_t attribute :
       {tpma_object::kRestricted, tpma_object::kSign, tpma_object::kFixedTpm,
        tpma_object::kFixedParent, tpma_object::kSensitiveDataOrigin, tpma_object::kDecrypt}) {
    QuoteCase bad;
    bad.key.attributes ^= attribute;
    bad.quote.qualified_signer = qualified_name(bad.key, endorsement_hierarchy()).value();
    expect_refused_by(Check::kKeyAttributes, bad);
  }
}

TEST(QuoteVerifier, AnAlgorithmThatIsNotAccepted) {
  QuoteCase bad;
  bad.expectation.algorithms = {{TpmAlg::kEcdsa, TpmAlg::kSha384},
                                {TpmAlg::kRsapss, TpmAlg::kSha256}};
  expect_refused_by(Check::kAlgorithm, bad);
  bad.expectation.algorithms.push_back({TpmAlg::kEcdsa, TpmAlg::kSha256});
  EXPECT_TRUE(bad.judge().report.accepted());
}

// A restricted key signs in one way only: another one is not its TPM's work.
TEST(QuoteVerifier, AnAlgorithmThatIsNotTheKeys) {
  QuoteCase bad;
  bad.quote.pcr_digest = pcr_digest(HashAlgorithm::kSha384, bad.quote.selections, bad.pcrs).value();
  const Bytes attest = encode(bad.quote);
  const Bytes signature = encode(bad.signer->sign_as({TpmAlg::kEcdsa, TpmAlg::kSha384}, attest));
  expect_refused_by(Check::kAlgorithm, [&](const CheckSwitches& switches) {
    return bad.judge_signed(attest, signature, switches);
  });
}

TEST(QuoteVerifier, ASignatureOfAnotherKeyOrOfSomethingElse) {
  const FakeKey other({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256);
  QuoteCase bad;
  bad.signer = &other;
  expect_refused_by(Check::kSignature, bad);

  const QuoteCase good;
  const Bytes attest = encode(good.quote);
  TpmSignature signature = good.signer->sign(attest);
  signature.second.back() ^= std::byte{1};
  expect_refused_by(Check::kSignature, [&](const CheckSwitches& switches) {
    return good.judge_signed(attest, encode(signature), switches);
  });
}

// tpm2_checkquote 5.4 accepts this one (CVE-2024-29038): whoever may let the key sign what he likes
// could write quotes himself.
TEST(QuoteVerifier, AWrongMagic) {
  QuoteCase bad;
  bad.quote.kind.magic = 0xff544348;
  expect_refused_by(Check::kMagic, bad);
  bad.quote.kind.magic = 0;
  expect_refused_by(Check::kMagic, bad);
}

TEST(QuoteVerifier, AnotherTypeThatLooksLikeAQuote) {
  QuoteCase bad;
  bad.quote.kind.type = 0x8017;  // TPM_ST_ATTEST_CERTIFY
  expect_refused_by(Check::kType, bad);
}

// A certification of the key has another body: what it is called is its type, not just malformed.
TEST(QuoteVerifier, ATrueAttestationOfAnotherType) {
  const QuoteCase good;
  const Bytes attest = TpmWriter()
                           .u32(kTpmGeneratedValue)
                           .u16(0x8017)
                           .sized(good.quote.qualified_signer)
                           .sized(good.quote.extra_data)
                           .u64(1)
                           .u32(2)
                           .u32(3)
                           .u8(1)
                           .u64(4)
                           .sized(good.quote.qualified_signer)
                           .sized(good.quote.qualified_signer)
                           .take();
  const QuoteVerdict verdict = good.judge_signed(attest, encode(good.signer->sign(attest)));
  ASSERT_NE(verdict.report.refusal(), nullptr);
  EXPECT_EQ(verdict.report.refusal()->check, Check::kType);
  EXPECT_EQ(failures(verdict.report), (std::vector{Check::kType, Check::kStructure}));
}

TEST(QuoteVerifier, AnotherPlaceInTheTpm) {
  QuoteCase bad;
  bad.expectation.parent_name = filled(34, 0x0b);
  expect_refused_by(Check::kQualifiedSigner, bad);

  QuoteCase unknown;
  unknown.expectation.parent_name.reset();
  const QuoteVerdict verdict = unknown.judge();
  EXPECT_TRUE(verdict.report.accepted());
  EXPECT_NE(lines(verdict.report).find("not applicable qualified-signer: the key's parent"),
            std::string::npos);
}

TEST(QuoteVerifier, AReplayedNonce) {
  QuoteCase bad;
  bad.expectation.challenge->nonce[31] ^= std::byte{1};
  expect_refused_by(Check::kNonce, bad);
}

TEST(QuoteVerifier, AnotherRequestersKey) {
  QuoteCase bad;
  (*bad.expectation.challenge->requester_key)[0] ^= std::byte{1};
  expect_refused_by(Check::kNonce, bad);
}

// A quote over the bare nonce would be good for whoever passes the nonce on.
TEST(QuoteVerifier, AQuoteBoundToNoKey) {
  QuoteCase bad;
  bad.quote.extra_data = bad.expectation.challenge->nonce;
  expect_refused_by(Check::kNonce, bad);
  EXPECT_NE(lines(bad.judge().report).find("bound to no key"), std::string::npos);
  bad.expectation.challenge->requester_key.reset();
  EXPECT_TRUE(bad.judge().report.accepted());
}

TEST(QuoteVerifier, AnEmptyNonceIsNone) {
  QuoteCase bad;
  bad.expectation.challenge = Challenge{{}, {}};
  bad.quote.extra_data.clear();
  expect_refused_by(Check::kNonce, bad);
}

TEST(QuoteVerifier, WithoutANonceTheReportSaysSo) {
  QuoteCase unknown;
  unknown.expectation.challenge.reset();
  const QuoteVerdict verdict = unknown.judge();
  EXPECT_TRUE(verdict.report.accepted());
  EXPECT_NE(lines(verdict.report).find("not applicable nonce: no nonce was given"),
            std::string::npos);
}

TEST(QuoteVerifier, AReducedSelection) {
  QuoteCase bad;
  bad.quote.selections[0].pcrs &= ~(1U << 4);
  bad.quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, bad.quote.selections, bad.pcrs).value();
  expect_refused_by(Check::kPcrSelection, bad);
}

TEST(QuoteVerifier, TheRightPcrsOfAnotherBank) {
  QuoteCase bad;
  bad.quote.selections[0].bank = TpmAlg::kSha1;
  for (unsigned index : {0U, 4U, 8U}) {
    ASSERT_TRUE(bad.pcrs.set({TpmAlg::kSha1, index}, filled(20, 9)));
  }
  bad.quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, bad.quote.selections, bad.pcrs).value();
  expect_refused_by(Check::kPcrSelection, bad);
}

TEST(QuoteVerifier, NoSelectionAtAll) {
  QuoteCase bad;
  bad.quote.selections.clear();
  bad.quote.pcr_digest = pcr_digest(HashAlgorithm::kSha256, {}, {}).value();
  expect_refused_by(Check::kPcrSelection, bad);
}

TEST(QuoteVerifier, AnotherPcrValue) {
  QuoteCase bad;
  bad.pcrs = {};
  for (unsigned index : {0U, 4U, 8U}) {
    ASSERT_TRUE(bad.pcrs.set({TpmAlg::kSha256, index}, filled(32, index + (index == 8 ? 2 : 1))));
  }
  expect_refused_by(Check::kPcrDigest, bad);
}

TEST(QuoteVerifier, AMissingPcrValue) {
  QuoteCase bad;
  bad.pcrs = {};
  ASSERT_TRUE(bad.pcrs.set({TpmAlg::kSha256, 0}, filled(32, 1)));
  expect_refused_by(Check::kPcrDigest, bad);
}

// Values that no quote covers must not reach the policy.
TEST(QuoteVerifier, VouchesForQuotedValuesOnly) {
  QuoteCase good;
  ASSERT_TRUE(good.pcrs.set({TpmAlg::kSha256, 9}, filled(32, 0xee)));
  const QuoteVerdict verdict = good.judge();
  EXPECT_TRUE(verdict.report.accepted());
  EXPECT_EQ(verdict.pcrs.find({TpmAlg::kSha256, 9}), nullptr);
  EXPECT_EQ(verdict.pcrs.all().size(), 3U);
}

TEST(QuoteVerifier, EveryFlippedBitIsRefused) {
  const QuoteCase good;
  const Bytes attest = encode(good.quote);
  const Bytes signature = encode(good.signer->sign(attest));
  ASSERT_TRUE(good.judge_signed(attest, signature).report.accepted());
  const auto without_signature = CheckSwitchesForTest::without({Check::kSignature});
  unsigned caught_otherwise = 0;
  for (std::size_t bit = 0; bit < 8 * attest.size(); ++bit) {
    Bytes bad = attest;
    bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const QuoteVerdict verdict = good.judge_signed(bad, signature);
    const auto failed = failures(verdict.report);
    EXPECT_TRUE(std::ranges::count(failed, Check::kSignature) == 1) << "bit " << bit;
    EXPECT_FALSE(verdict.report.accepted()) << "bit " << bit;
    caught_otherwise +=
        good.judge_signed(bad, signature, without_signature).report.accepted() ? 0 : 1;
  }
  // The control: only the clock (8 + 4 + 4 bytes and a bit) and the firmware's version depend on
  // the signature alone; all other parts are compared with something.
  EXPECT_EQ(8 * attest.size() - caught_otherwise, 8U * (16 + 8) + 1);
}

TEST(QuoteVerifier, EveryFlippedBitOfTheSignatureIsRefused) {
  const QuoteCase good;
  const Bytes attest = encode(good.quote);
  const Bytes signature = encode(good.signer->sign(attest));
  for (std::size_t bit = 0; bit < 8 * signature.size(); ++bit) {
    Bytes bad = signature;
    bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_FALSE(good.judge_signed(attest, bad).report.accepted()) << "bit " << bit;
  }
}

TEST(QuoteVerifier, EveryTruncationIsRefused) {
  const QuoteCase good;
  const Bytes attest = encode(good.quote);
  for (std::size_t size = 0; size < attest.size(); ++size) {
    const auto cut = std::span(attest).first(size);
    // Also when the key signed just that.
    const QuoteVerdict verdict = good.judge_signed(cut, encode(good.signer->sign(cut)));
    EXPECT_FALSE(verdict.report.accepted()) << size;
    EXPECT_EQ(failures(verdict.report), std::vector{Check::kStructure}) << size;
    EXPECT_EQ(verdict.report.findings().size(), 10U);
  }
  const Bytes signature = encode(good.signer->sign(attest));
  for (std::size_t size = 0; size < signature.size(); ++size) {
    EXPECT_FALSE(good.judge_signed(attest, std::span(signature).first(size)).report.accepted());
  }
}

TEST(QuoteVerifier, SomethingBehindTheEndIsRefused) {
  const QuoteCase good;
  Bytes attest = encode(good.quote);
  attest.push_back(std::byte{0});
  const QuoteVerdict verdict = good.judge_signed(attest, encode(good.signer->sign(attest)));
  EXPECT_EQ(failures(verdict.report), std::vector{Check::kStructure});
}

TEST(QualifyingData, BindsTheNonceToTheKey) {
  Challenge challenge{filled(16, 1), {}};
  EXPECT_EQ(qualifying_data(challenge).value(), filled(16, 1));
  challenge.requester_key.emplace().fill(std::byte{2});
  Bytes both = filled(16, 1);
  both.resize(48, std::byte{2});
  EXPECT_EQ(to_hex(qualifying_data(challenge).value()), to_hex(Sha256::of(both).value()));
  challenge.nonce.clear();
  EXPECT_EQ(qualifying_data(challenge).error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace bulkhead
