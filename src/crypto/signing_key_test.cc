// SPDX-License-Identifier: Apache-2.0
#include "crypto/signing_key.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "crypto/public_key.h"
#include "crypto/signer_for_test.h"

namespace bulkhead {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(SigningKey, IsTheSameAfterItsPem) {
  const SigningKey key = SigningKey::generate().value();
  const SecretBytes pem = key.pem().value();
  const SigningKey again = SigningKey::from_pem(pem.bytes()).value();
  EXPECT_EQ(again.public_info().value(), key.public_info().value());
  EXPECT_NE(SigningKey::generate().value().public_info().value(), key.public_info().value());
}

TEST(SigningKey, TakesNothingElse) {
  EXPECT_EQ(SigningKey::from_pem(as_bytes("no key")).error().code, Errc::kMalformed);
  EXPECT_EQ(SigningKey::from_pem({}).error().code, Errc::kMalformed);
  // openssl genpkey -algorithm ED25519
  constexpr std::string_view kOther =
      "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VwBCIEIIIAkNP9giHXXpbwKByAkPQPboLZ2Tbaio0apZawFMRJ\n"
      "-----END PRIVATE KEY-----\n";
  EXPECT_EQ(SigningKey::from_pem(as_bytes(kOther)).error().code, Errc::kUnsupported);
}

TEST(PublicKey, TellsItsInfo) {
  const SignerForTest signer = SignerForTest::ec(Curve::kP256);
  const std::vector<std::byte> x = signer.x();
  const std::vector<std::byte> y = signer.y();
  const PublicKey key = PublicKey::create(PublicKey::Point{Curve::kP256, x, y}).value();
  const std::vector<std::byte> info = key.info().value();
  ASSERT_EQ(info.size(), 91U);  // RFC 5480: two object identifiers and an uncompressed point
  EXPECT_TRUE(std::equal(y.rbegin(), y.rend(), info.rbegin()));
}

}  // namespace
}  // namespace bulkhead
