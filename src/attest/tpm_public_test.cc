// SPDX-License-Identifier: Apache-2.0
#include "attest/tpm_public.h"

#include <gtest/gtest.h>

#include "attest/quote_case_for_test.h"

namespace bulkhead {
namespace {

TpmPublic rsa_object() {
  TpmPublic object;
  object.attributes = kAttestationKeyAttributes;
  object.scheme = TpmAlg::kRsassa;
  object.scheme_hash = TpmAlg::kSha256;
  object.key = TpmRsaKey{2048, 0, filled(256, 0xff)};
  return object;
}

TpmPublic storage_object() {
  TpmPublic object = rsa_object();
  object.attributes ^= tpma_object::kSign | tpma_object::kDecrypt;
  object.auth_policy = filled(32, 7);
  object.symmetric = {TpmAlg::kAes, 128, TpmAlg::kCfb};
  object.scheme = object.scheme_hash = TpmAlg::kNull;
  return object;
}

TpmPublic ecc_object() {
  TpmPublic object = rsa_object();
  object.name_algorithm = TpmAlg::kSha384;
  object.scheme = TpmAlg::kEcdsa;
  object.scheme_hash = TpmAlg::kSha384;
  object.key = TpmEccKey{Curve::kP384, filled(48, 1), filled(48, 2)};
  return object;
}

TEST(TpmPublic, ReadsWhatWasWritten) {
  for (const TpmPublic& object : {rsa_object(), storage_object(), ecc_object()}) {
    const Bytes bytes = serialize(object);
    EXPECT_EQ(parse_tpmt_public(bytes).value(), object);
    const Bytes sized = TpmWriter().sized(bytes).take();
    EXPECT_EQ(parse_tpm2b_public(sized).value(), object);
  }
}

TEST(TpmPublic, TruncationAndLeftoversAreErrors) {
  for (const TpmPublic& object : {rsa_object(), storage_object(), ecc_object()}) {
    Bytes bytes = serialize(object);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(parse_tpmt_public(std::span(bytes).first(size)).error().code, Errc::kTruncated);
    }
    Bytes sized = TpmWriter().sized(bytes).take();
    for (std::size_t size = 0; size < sized.size(); ++size) {
      EXPECT_FALSE(parse_tpm2b_public(std::span(sized).first(size)));
    }
    bytes.push_back(std::byte{0});
    EXPECT_EQ(parse_tpmt_public(bytes).error().code, Errc::kMalformed);
    sized.push_back(std::byte{0});
    EXPECT_EQ(parse_tpm2b_public(sized).error().code, Errc::kMalformed);
  }
}

Errc refusal(const TpmPublic& object) {
  const auto parsed = parse_tpmt_public(serialize(object));
  return parsed ? Errc::kIo : parsed.error().code;
}

TEST(TpmPublic, RefusesWhatNoAttestationNeeds) {
  TpmPublic object = rsa_object();
  object.attributes |= 1U << 31;
  EXPECT_EQ(refusal(object), Errc::kMalformed);
  object = rsa_object();
  object.name_algorithm = TpmAlg::kSha1;
  EXPECT_EQ(refusal(object), Errc::kUnsupported);
  object = rsa_object();
  object.auth_policy = filled(65, 1);
  EXPECT_EQ(refusal(object), Errc::kMalformed);
  object = rsa_object();
  object.scheme = TpmAlg::kEcdsa;  // not of an RSA key
  EXPECT_EQ(refusal(object), Errc::kUnsupported);
  object = rsa_object();
  object.scheme_hash = TpmAlg::kNull;
  EXPECT_EQ(refusal(object), Errc::kUnsupported);
  object = ecc_object();
  object.key = TpmEccKey{Curve::kP384, filled(49, 1), filled(48, 2)};
  EXPECT_EQ(refusal(object), Errc::kMalformed);
  for (std::uint16_t bits : std::initializer_list<std::uint16_t>{1024, 2047, 4096}) {
    object.key = TpmRsaKey{bits, 0, filled(bits / 8U, 1)};
    object.scheme = TpmAlg::kRsassa;
    EXPECT_EQ(refusal(object), Errc::kUnsupported) << bits;
  }
  object.key = TpmRsaKey{2048, 3, filled(256, 1)};
  EXPECT_EQ(refusal(object), Errc::kUnsupported);
  object.key = TpmRsaKey{2048, 0, filled(255, 1)};
  EXPECT_EQ(refusal(object), Errc::kMalformed);
  object = storage_object();
  object.symmetric.key_bits = 64;
  EXPECT_EQ(refusal(object), Errc::kUnsupported);
}

TEST(TpmPublic, TheNameIsTheDigestOfEverything) {
  const Bytes name = tpm_name(rsa_object()).value();
  Bytes wanted = {std::byte{0x00}, std::byte{0x0b}};
  const auto digest = Sha256::of(serialize(rsa_object())).value();
  wanted.insert(wanted.end(), digest.begin(), digest.end());
  EXPECT_EQ(name, wanted);
  EXPECT_EQ(tpm_name(ecc_object()).value().size(), 2U + 48U);
  TpmPublic other = rsa_object();
  other.attributes ^= tpma_object::kNoDa;
  EXPECT_NE(tpm_name(other).value(), name);
  EXPECT_NE(qualified_name(rsa_object(), endorsement_hierarchy()).value(),
            qualified_name(rsa_object(), name).value());
}

TEST(TpmPublic, NamesEveryFaultOfAnAttestationKey) {
  EXPECT_EQ(attestation_key_faults(rsa_object()), "");
  EXPECT_EQ(attestation_key_faults(ecc_object()), "");
  EXPECT_EQ(attestation_key_faults(storage_object()), "not sign, decrypt");
  TpmPublic object = rsa_object();
  object.attributes = 0;
  EXPECT_EQ(attestation_key_faults(object),
            "not restricted, not sign, not fixedTPM, not fixedParent, not sensitiveDataOrigin");
}

TEST(TpmPublic, APointOffTheCurveIsNoKey) {
  EXPECT_EQ(public_key(ecc_object()).error().code, Errc::kMalformed);
  EXPECT_TRUE(public_key(default_fake_key().object()));
}

}  // namespace
}  // namespace bulkhead
