// SPDX-License-Identifier: Apache-2.0
// Quotes of a TPM that is not ours: swtpm.
#include <gtest/gtest.h>

#include "attest/quote_case_for_test.h"
#include "attest/software_tpm_for_test.h"

namespace bulkhead {
namespace {

#define SKIP_WITHOUT_SWTPM() \
  if (!SoftwareTpm::is_installed()) GTEST_SKIP() << "swtpm is not installed"

constexpr PcrSelection kSelection{TpmAlg::kSha256, 1U << 0 | 1U << 7 | 1U << 16};

TpmPublic form(QuoteAlgorithm algorithm, Curve curve) {
  TpmPublic object;
  object.attributes = kAttestationKeyAttributes;
  object.scheme = algorithm.scheme;
  object.scheme_hash = algorithm.hash;
  if (algorithm.scheme == TpmAlg::kEcdsa) {
    object.key = TpmEccKey{curve, {}, {}};
  } else {
    object.key = TpmRsaKey{2048, 0, {}};
  }
  return object;
}

class SoftwareTpmQuote : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_SWTPM();
    tpm_.emplace();
    tpm_->extend(16, filled(32, 0x5a));
    for (unsigned index : {0U, 7U, 16U}) {
      const PcrId pcr{TpmAlg::kSha256, index};
      ASSERT_TRUE(pcrs_.set(pcr, tpm_->read_pcr(pcr)));
    }
    expectation_.challenge = Challenge{filled(20, 3), Sha256Digest{}};
    expectation_.parent_name = endorsement_hierarchy();
    expectation_.pcrs = {kSelection};
  }

  SoftwareTpm::Quote quote(const SoftwareTpm::Object& key) {
    return tpm_->quote(key, qualifying_data(*expectation_.challenge).value(), {kSelection});
  }
  QuoteVerdict judge(const SoftwareTpm::Object& key, const SoftwareTpm::Quote& quote) const {
    return verify_quote(
        {.attest = quote.attest, .signature = quote.signature, .key = key.object, .pcrs = pcrs_},
        expectation_);
  }

  std::optional<SoftwareTpm> tpm_;
  PcrValues pcrs_;
  QuoteExpectation expectation_;
};

TEST_F(SoftwareTpmQuote, IsGoodInEveryAlgorithm) {
  for (QuoteAlgorithm algorithm : quote_algorithms()) {
    const Curve curve = algorithm.hash == TpmAlg::kSha256 ? Curve::kP256 : Curve::kP384;
    const auto key = tpm_->create_primary(form(algorithm, curve));
    const QuoteVerdict verdict = judge(key, quote(key));
    for (const Finding& finding : verdict.report.findings()) {
      EXPECT_EQ(finding.outcome, CheckOutcome::kPassed)
          << to_string(algorithm) << ": " << to_line(finding);
    }
    tpm_->flush(key);
  }
}

TEST_F(SoftwareTpmQuote, IsOutdatedByTheNextExtend) {
  const auto key = tpm_->create_primary(form({TpmAlg::kEcdsa, TpmAlg::kSha256}, Curve::kP256));
  EXPECT_TRUE(judge(key, quote(key)).report.accepted());
  tpm_->extend(16, filled(32, 1));
  const QuoteVerdict verdict = judge(key, quote(key));
  ASSERT_NE(verdict.report.refusal(), nullptr);
  EXPECT_EQ(verdict.report.refusal()->check, Check::kPcrDigest);
}

TEST_F(SoftwareTpmQuote, IsNotACertificationByTheSameKey) {
  const auto key = tpm_->create_primary(form({TpmAlg::kEcdsa, TpmAlg::kSha256}, Curve::kP256));
  const Bytes data = qualifying_data(*expectation_.challenge).value();
  const QuoteVerdict verdict = judge(key, tpm_->certify(key, key, data));
  ASSERT_NE(verdict.report.refusal(), nullptr);
  EXPECT_EQ(verdict.report.refusal()->check, Check::kType);
}

TEST_F(SoftwareTpmQuote, OfAnotherTpmIsRefused) {
  const TpmPublic wanted = form({TpmAlg::kEcdsa, TpmAlg::kSha256}, Curve::kP256);
  const auto key = tpm_->create_primary(wanted);
  SoftwareTpm other;
  const auto foreign_key = other.create_primary(wanted);
  ASSERT_NE(tpm_name(key.object).value(), tpm_name(foreign_key.object).value());
  const Bytes data = qualifying_data(*expectation_.challenge).value();
  const QuoteVerdict verdict = judge(key, other.quote(foreign_key, data, {kSelection}));
  ASSERT_NE(verdict.report.refusal(), nullptr);
  EXPECT_EQ(verdict.report.refusal()->check, Check::kSignature);
}

}  // namespace
}  // namespace bulkhead
