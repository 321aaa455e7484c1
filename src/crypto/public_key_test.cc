// SPDX-License-Identifier: Apache-2.0
#include "crypto/public_key.h"

#include <gtest/gtest.h>

#include <string_view>

#include "crypto/digest.h"
#include "crypto/hex_for_test.h"
#include "crypto/signer_for_test.h"

namespace bulkhead {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

struct EcExample {
  Curve curve;
  HashAlgorithm hash;
  std::string_view x, y, r, s;
};

// RFC 6979, A.2.5 and A.2.6: the message "sample".
constexpr EcExample kP256 = {Curve::kP256,
                             HashAlgorithm::kSha256,
                             "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
                             "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
                             "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
                             "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"};
constexpr EcExample kP384 = {Curve::kP384,
                             HashAlgorithm::kSha384,
                             "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F"
                             "0EA9055866064A254515480BC13",
                             "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B2"
                             "31C3AE0D4FE7344FD2533264720",
                             "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A64"
                             "8152E44ACF96E36DD1E80FABE46",
                             "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C"
                             "145786E679E7B82C71A38628AC8"};

bool verify(const EcExample& example, std::string_view message) {
  const auto x = from_hex(example.x);
  const auto y = from_hex(example.y);
  const auto r = from_hex(example.r);
  const auto s = from_hex(example.s);
  const PublicKey key =
      PublicKey::create(PublicKey::Point{.curve = example.curve, .x = x, .y = y}).value();
  return key
      .verify({.scheme = SignatureScheme::kEcdsa, .hash = example.hash, .first = r, .second = s},
              bytes_of(message))
      .value();
}

TEST(PublicKey, VerifiesTheStandardsSignatures) {
  EXPECT_TRUE(verify(kP256, "sample"));
  EXPECT_FALSE(verify(kP256, "sampla"));
  EXPECT_TRUE(verify(kP384, "sample"));
  EXPECT_FALSE(verify(kP384, "Sample"));
}

TEST(PublicKey, VerifiesRsaInBothPaddings) {
  const SignerForTest signer = SignerForTest::rsa(2048);
  const auto modulus = signer.modulus();
  const PublicKey key = PublicKey::create(PublicKey::Rsa{.modulus = modulus}).value();
  for (auto scheme : {SignatureScheme::kRsaPkcs1, SignatureScheme::kRsaPss}) {
    for (auto hash : {HashAlgorithm::kSha256, HashAlgorithm::kSha384}) {
      auto made = signer.sign(scheme, hash, bytes_of("message"));
      SignatureView view{.scheme = scheme, .hash = hash, .first = made.first, .second = {}};
      EXPECT_TRUE(key.verify(view, bytes_of("message")).value());
      EXPECT_FALSE(key.verify(view, bytes_of("messagf")).value());
      view.hash = hash == HashAlgorithm::kSha256 ? HashAlgorithm::kSha384 : HashAlgorithm::kSha256;
      EXPECT_FALSE(key.verify(view, bytes_of("message")).value());
      view.hash = hash;
      view.scheme = scheme == SignatureScheme::kRsaPss ? SignatureScheme::kRsaPkcs1
                                                       : SignatureScheme::kRsaPss;
      EXPECT_FALSE(key.verify(view, bytes_of("message")).value());
      view.scheme = scheme;
      made.first.back() ^= std::byte{1};
      EXPECT_FALSE(key.verify(view, bytes_of("message")).value());
    }
  }
}

TEST(PublicKey, SignaturesOfAnotherKindOrSizeDoNotFit) {
  const SignerForTest signer = SignerForTest::ec(Curve::kP256);
  const auto x = signer.x();
  const auto y = signer.y();
  const PublicKey key =
      PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x, .y = y}).value();
  const auto made = signer.sign(SignatureScheme::kEcdsa, HashAlgorithm::kSha256, bytes_of("m"));
  SignatureView view{SignatureScheme::kEcdsa, HashAlgorithm::kSha256, made.first, made.second};
  EXPECT_TRUE(key.verify(view, bytes_of("m")).value());
  view.scheme = SignatureScheme::kRsaPkcs1;
  EXPECT_FALSE(key.verify(view, bytes_of("m")).value());
  view.scheme = SignatureScheme::kEcdsa;
  view.hash = HashAlgorithm::kSha1;
  EXPECT_EQ(key.verify(view, bytes_of("m")).error().code, Errc::kUnsupported);
  view.hash = HashAlgorithm::kSha256;
  view.second = {};
  EXPECT_FALSE(key.verify(view, bytes_of("m")).value());
  const std::vector<std::byte> huge(100000, std::byte{0xff});
  view.second = huge;
  EXPECT_FALSE(key.verify(view, bytes_of("m")).value());
}

TEST(PublicKey, RefusesWhatIsNoKey) {
  std::vector<std::byte> modulus(256, std::byte{0xff});
  EXPECT_TRUE(PublicKey::create(PublicKey::Rsa{.modulus = modulus}));
  EXPECT_FALSE(PublicKey::create(PublicKey::Rsa{.modulus = modulus, .exponent = 3}));
  EXPECT_FALSE(PublicKey::create(PublicKey::Rsa{.modulus = modulus, .exponent = 65538}));
  EXPECT_FALSE(PublicKey::create(PublicKey::Rsa{.modulus = std::span(modulus).first(255)}));
  EXPECT_FALSE(PublicKey::create(PublicKey::Rsa{.modulus = {}}));
  modulus.back() = std::byte{0xfe};
  EXPECT_FALSE(PublicKey::create(PublicKey::Rsa{.modulus = modulus}));

  auto x = from_hex(kP256.x);
  const auto y = from_hex(kP256.y);
  EXPECT_TRUE(PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x, .y = y}));
  x[31] ^= std::byte{1};  // off the curve
  EXPECT_FALSE(PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x, .y = y}));
  EXPECT_FALSE(PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = {}, .y = {}}));
  x.push_back(std::byte{0});
  EXPECT_FALSE(PublicKey::create(PublicKey::Point{.curve = Curve::kP256, .x = x, .y = y}));
}

}  // namespace
}  // namespace bulkhead
