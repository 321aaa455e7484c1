// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_attest.h"

#include <gtest/gtest.h>

#include "attest/quote_case_for_test.h"

namespace bulkhead {
namespace {

// Where things are in the bytes of a QuoteCase, whose signer and extraData have 34 and 32 bytes.
constexpr std::size_t kSafe = 6 + (2 + 34) + (2 + 32) + 16;
constexpr std::size_t kCount = kSafe + 1 + 8;
constexpr std::size_t kBank = kCount + 4;
constexpr std::size_t kSelectSize = kBank + 2;

Bytes changed(std::size_t offset, unsigned value) {
  Bytes bytes = encode(QuoteCase().quote);
  bytes.at(offset) = static_cast<std::byte>(value);
  return bytes;
}

TEST(TpmAttest, ReadsWhatWasWritten) {
  QuoteCase good;
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).value(), good.quote);
  good.quote.selections.push_back({TpmAlg::kSha1, 0xffffff});
  good.quote.clock.safe = false;
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).value(), good.quote);
  good.quote.selections.clear();
  good.quote.extra_data.clear();
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).value(), good.quote);
}

TEST(TpmAttest, TruncationAndLeftoversAreErrors) {
  Bytes bytes = encode(QuoteCase().quote);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(parse_tpm_quote(std::span(bytes).first(size)).error().code, Errc::kTruncated) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(parse_tpm_quote(bytes).error().code, Errc::kMalformed);
}

TEST(TpmAttest, SizesAreBounded) {
  QuoteCase good;
  good.quote.extra_data = filled(66, 1);
  EXPECT_TRUE(parse_tpm_quote(encode(good.quote)));
  good.quote.extra_data = filled(67, 1);
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).error().code, Errc::kMalformed);
  good = QuoteCase();
  good.quote.qualified_signer = filled(67, 1);
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).error().code, Errc::kMalformed);
  good = QuoteCase();
  good.quote.pcr_digest = filled(65, 1);
  EXPECT_EQ(parse_tpm_quote(encode(good.quote)).error().code, Errc::kMalformed);
}

TEST(TpmAttest, ValuesOutOfTheirRangeAreErrors) {
  EXPECT_TRUE(parse_tpm_quote(changed(kSafe, 0)));
  EXPECT_EQ(parse_tpm_quote(changed(kSafe, 2)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_tpm_quote(changed(kCount, 0xff)).error().code, Errc::kMalformed);
  EXPECT_STREQ(parse_tpm_quote(changed(kCount + 3, 17)).error().what, "too many PCR selections");
  EXPECT_EQ(parse_tpm_quote(changed(kCount + 3, 2)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_tpm_quote(changed(kBank + 1, 0x10)).error().code, Errc::kMalformed);
  for (unsigned size : {0U, 2U, 4U, 255U}) {
    EXPECT_EQ(parse_tpm_quote(changed(kSelectSize, size)).error().code, Errc::kMalformed) << size;
  }
}

TEST(TpmAttest, ABankTwiceIsAnError) {
  QuoteCase bad;
  bad.quote.selections = {{TpmAlg::kSha256, 1}, {TpmAlg::kSha384, 1}, {TpmAlg::kSha256, 2}};
  EXPECT_EQ(parse_tpm_quote(encode(bad.quote)).error().code, Errc::kMalformed);
  bad.quote.selections.pop_back();
  EXPECT_TRUE(parse_tpm_quote(encode(bad.quote)));
}

TEST(TpmSignature, ReadsWhatWasWritten) {
  const TpmSignature ecdsa{TpmAlg::kEcdsa, TpmAlg::kSha384, filled(48, 1), filled(47, 2)};
  EXPECT_EQ(parse_tpm_signature(encode(ecdsa)).value(), ecdsa);
  const TpmSignature rsa{TpmAlg::kRsapss, TpmAlg::kSha1, filled(384, 1), {}};
  EXPECT_EQ(parse_tpm_signature(encode(rsa)).value(), rsa);
  EXPECT_EQ(signature_view(rsa).error().code, Errc::kUnsupported);  // SHA-1 never counts
}

TEST(TpmSignature, RefusesAllElse) {
  const TpmSignature ecdsa{TpmAlg::kEcdsa, TpmAlg::kSha256, filled(32, 1), filled(32, 2)};
  Bytes bytes = encode(ecdsa);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(parse_tpm_signature(std::span(bytes).first(size)).error().code, Errc::kTruncated);
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(parse_tpm_signature(bytes).error().code, Errc::kMalformed);
  const auto code = [](TpmSignature signature) {
    return parse_tpm_signature(encode(signature)).error().code;
  };
  EXPECT_EQ(code({TpmAlg::kEcdsa, TpmAlg::kSha256, filled(67, 1), {}}), Errc::kMalformed);
  EXPECT_EQ(code({TpmAlg::kRsassa, TpmAlg::kSha256, filled(513, 1), {}}), Errc::kMalformed);
  EXPECT_EQ(code({TpmAlg::kRsassa, TpmAlg::kNull, filled(256, 1), {}}), Errc::kUnsupported);
  EXPECT_EQ(code({TpmAlg(0x0005), TpmAlg::kSha256, filled(32, 1), {}}), Errc::kUnsupported);
}

}  // namespace
}  // namespace bulkhead
