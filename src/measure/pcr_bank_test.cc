// SPDX-License-Identifier: Apache-2.0
#include "measure/pcr_bank.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "crypto/digest.h"

namespace bulkhead {
namespace {

using enum HashAlgorithm;

Digest digest_of(HashAlgorithm algorithm, std::string_view text) {
  return Hash::of(algorithm, {std::as_bytes(std::span(text))}).value();
}
std::string hex(const PcrBank& bank, unsigned pcr) {
  return to_hex(bank.value(static_cast<Pcr>(pcr)).value().bytes());
}

// PC Client Platform TPM Profile: 17 to 22 are of a dynamic launch.
TEST(PcrBank, BeginsAsATpmDoes) {
  const PcrBank bank(kSha256, StartupLocality::kZero);
  for (unsigned pcr = 0; pcr < kPcrCount; ++pcr) {
    const bool dynamic = pcr >= 17 && pcr <= 22;
    EXPECT_EQ(hex(bank, pcr), std::string(64, dynamic ? 'f' : '0')) << pcr;
  }
}

TEST(PcrBank, ShowsTheStartupLocalityInPcr0Only) {
  const PcrBank zero(kSha384, StartupLocality::kZero);
  for (const StartupLocality locality : {StartupLocality::kThree, StartupLocality::kHcrtm}) {
    const PcrBank bank(kSha384, locality);
    EXPECT_EQ(hex(bank, 0), std::string(95, '0') + std::to_string(static_cast<unsigned>(locality)));
    for (unsigned pcr = 1; pcr < kPcrCount; ++pcr) EXPECT_EQ(hex(bank, pcr), hex(zero, pcr));
  }
}

// The values are of sha256sum: of 32 zero bytes and the digest of "abc"; of that and the same
// digest.
TEST(PcrBank, ExtendsByHashingOldAndNew) {
  PcrBank bank(kSha256, StartupLocality::kZero);
  ASSERT_TRUE(bank.extend(Pcr{23}, digest_of(kSha256, "abc")));
  EXPECT_EQ(hex(bank, 23), "589f9ffed4c477966bfb8d41f37895b08c69047df8f911d6f3b57fbe08faee8d");
  ASSERT_TRUE(bank.extend(Pcr{23}, digest_of(kSha256, "abc")));
  EXPECT_EQ(hex(bank, 23), "bdeb6c6dc63852834c89f67066194207ce7d3806ea40ca58dc079246ef58a926");
  EXPECT_EQ(hex(bank, 22), std::string(64, 'f'));
}

// TPM 2.0 Part 1, "H-CRTM": PCR 0 is the hash of 0...04 and of the digest of the hashed data. The
// values are what libtpms 0.9.2 shows after _TPM_Hash_Start, "core", _TPM_Hash_End and
// TPM2_Startup.
TEST(PcrBank, TakesAnHcrtmIntoPcr0) {
  PcrBank sha256(kSha256, StartupLocality::kHcrtm);
  ASSERT_TRUE(sha256.extend(Pcr{0}, digest_of(kSha256, "core")));
  EXPECT_EQ(hex(sha256, 0), "c2910c78e891183355d430ced8bbf3e449db2db65a4582965c3d269e787a1976");
  PcrBank sha384(kSha384, StartupLocality::kHcrtm);
  ASSERT_TRUE(sha384.extend(Pcr{0}, digest_of(kSha384, "core")));
  EXPECT_EQ(hex(sha384, 0),
            "f8b3e03de3f0a6a86f5f5d3d922c169d01842d2470345316fe36c3790d141672"
            "14447c779b2ceb4c769eefb98b269f4f");
}

TEST(PcrBank, DependsOnTheOrder) {
  PcrBank one(kSha256, StartupLocality::kZero);
  PcrBank other = one;
  ASSERT_TRUE(one.extend(Pcr{4}, digest_of(kSha256, "a")));
  ASSERT_TRUE(one.extend(Pcr{4}, digest_of(kSha256, "b")));
  ASSERT_TRUE(other.extend(Pcr{4}, digest_of(kSha256, "b")));
  ASSERT_TRUE(other.extend(Pcr{4}, digest_of(kSha256, "a")));
  EXPECT_NE(one, other);
}

TEST(PcrBank, RefusesWhatIsNotItsOwn) {
  PcrBank bank(kSha256, StartupLocality::kZero);
  const PcrBank before = bank;
  EXPECT_EQ(bank.extend(Pcr{24}, digest_of(kSha256, "")).error().code, Errc::kOutOfRange);
  EXPECT_EQ(bank.extend(Pcr{255}, digest_of(kSha256, "")).error().code, Errc::kOutOfRange);
  EXPECT_EQ(bank.value(Pcr{24}).error().code, Errc::kOutOfRange);
  EXPECT_EQ(bank.extend(Pcr{0}, digest_of(kSha384, "")).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(bank, before);
  EXPECT_TRUE(to_pcr(23));
  EXPECT_FALSE(to_pcr(24));
  EXPECT_FALSE(to_pcr(256));  // would be PCR 0 if it were cut to a byte
}

TEST(TpmAlg, NamesWhatWeCompute) {
  for (const HashAlgorithm algorithm : {kSha1, kSha256, kSha384, kSha512}) {
    EXPECT_EQ(from_tpm(to_tpm(algorithm)), algorithm);
  }
  EXPECT_EQ(static_cast<unsigned>(to_tpm(kSha256)), 0x0bu);
  EXPECT_FALSE(from_tpm(static_cast<TpmAlg>(0x0012)));  // SM3-256
}

}  // namespace
}  // namespace bulkhead
