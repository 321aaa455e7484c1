// SPDX-License-Identifier: Apache-2.0
#include "measure/pcr_values.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

Bytes filled(std::size_t size_bytes, unsigned value) {
  return Bytes(size_bytes, static_cast<std::byte>(value));
}

// Were sizes free, PCR 0 of 31 bytes and PCR 1 of 33 would have the digest of two others.
TEST(PcrValues, EachHasItsBanksSize) {
  PcrValues values;
  EXPECT_EQ(values.set({TpmAlg::kSha256, 0}, filled(31, 1)).error().code, Errc::kMalformed);
  EXPECT_EQ(values.set({TpmAlg::kSha256, 0}, filled(33, 1)).error().code, Errc::kMalformed);
  EXPECT_EQ(values.set({TpmAlg::kNull, 0}, {}).error().code, Errc::kMalformed);
  EXPECT_EQ(values.set({TpmAlg::kSha256, 24}, filled(32, 1)).error().code, Errc::kOutOfRange);
  EXPECT_TRUE(values.set({TpmAlg::kSha256, 23}, filled(32, 1)));
  EXPECT_EQ(values.set({TpmAlg::kSha256, 23}, filled(32, 2)).error().code, Errc::kExists);
  EXPECT_TRUE(values.set({TpmAlg::kSha1, 23}, filled(20, 1)));
  EXPECT_EQ(*values.find({TpmAlg::kSha256, 23}), filled(32, 1));
  EXPECT_EQ(values.find({TpmAlg::kSha384, 23}), nullptr);
}

TEST(PcrValues, TheDigestFollowsTheSelectionsOrder) {
  PcrValues values;
  ASSERT_TRUE(values.set({TpmAlg::kSha256, 0}, filled(32, 1)));
  ASSERT_TRUE(values.set({TpmAlg::kSha256, 9}, filled(32, 2)));
  ASSERT_TRUE(values.set({TpmAlg::kSha1, 5}, filled(20, 3)));
  const Digest wanted =
      Hash::of(HashAlgorithm::kSha256, {filled(20, 3), filled(32, 1), filled(32, 2)}).value();
  const PcrSelections selections = {{TpmAlg::kSha1, 1U << 5}, {TpmAlg::kSha256, 1U | 1U << 9}};
  EXPECT_EQ(pcr_digest(HashAlgorithm::kSha256, selections, values).value(),
            copy_of(wanted.bytes()));
  EXPECT_EQ(pcr_digest(HashAlgorithm::kSha384, selections, values).value().size(), 48U);
  EXPECT_EQ(pcr_digest(HashAlgorithm::kSha256, {{TpmAlg::kSha256, 2}}, values).error().code,
            Errc::kNotFound);
  EXPECT_EQ(values.selected({{TpmAlg::kSha256, 1}}).value().all().size(), 1U);
}

TEST(PcrSelections, AreReadable) {
  EXPECT_EQ(to_string(PcrSelections{}), "none");
  EXPECT_EQ(to_string(PcrSelections{{TpmAlg::kSha1, 0}}), "none");
  EXPECT_EQ(to_string(PcrSelections{{TpmAlg::kSha256, 0x713}, {TpmAlg::kSha1, 0xffffff}}),
            "sha256:0,1,4,8-10+sha1:0-23");
  EXPECT_EQ(to_string(PcrId{TpmAlg::kSha384, 7}), "sha384:7");
}

}  // namespace
}  // namespace bulkhead
