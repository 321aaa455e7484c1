// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/check_switches_for_test.h"
#include "attest/encode_for_test.h"
#include "attest/quote_verifier.h"
#include "crypto/signer_for_test.h"

namespace bulkhead {

inline Bytes filled(std::size_t size_bytes, unsigned value) {
  return Bytes(size_bytes, static_cast<std::byte>(value));
}

inline constexpr std::uint32_t kAttestationKeyAttributes =
    tpma_object::kRestricted | tpma_object::kSign | tpma_object::kFixedTpm |
    tpma_object::kFixedParent | tpma_object::kSensitiveDataOrigin | tpma_object::kUserWithAuth;

// An attestation key that signs whatever a test wants.
class FakeKey {
 public:
  // `size` is 2048 or 3072 for RSA; 256 or 384 for ECDSA.
  FakeKey(QuoteAlgorithm algorithm, unsigned size)
      : signer_(algorithm.scheme == TpmAlg::kEcdsa ? SignerForTest::ec(curve(size))
                                                   : SignerForTest::rsa(size)) {
    object_.attributes = kAttestationKeyAttributes;
    object_.scheme = algorithm.scheme;
    object_.scheme_hash = algorithm.hash;
    if (algorithm.scheme == TpmAlg::kEcdsa) {
      object_.key = TpmEccKey{curve(size), signer_.x(), signer_.y()};
    } else {
      object_.key = TpmRsaKey{static_cast<std::uint16_t>(size), 0, signer_.modulus()};
    }
  }

  const TpmPublic& object() const { return object_; }

  TpmSignature sign(std::span<const std::byte> attest) const {
    return sign_as({object_.scheme, object_.scheme_hash}, attest);
  }
  TpmSignature sign_as(QuoteAlgorithm algorithm, std::span<const std::byte> attest) const {
    auto made = signer_.sign(scheme(algorithm.scheme), *strong_hash(algorithm.hash), attest);
    return {algorithm.scheme, algorithm.hash, std::move(made.first), std::move(made.second)};
  }

 private:
  static Curve curve(unsigned size) { return size == 256 ? Curve::kP256 : Curve::kP384; }
  static SignatureScheme scheme(TpmAlg algorithm) {
    if (algorithm == TpmAlg::kEcdsa) return SignatureScheme::kEcdsa;
    return algorithm == TpmAlg::kRsapss ? SignatureScheme::kRsaPss : SignatureScheme::kRsaPkcs1;
  }

  SignerForTest signer_;
  TpmPublic object_;
};

inline const FakeKey& default_fake_key() {
  static const FakeKey key({TpmAlg::kEcdsa, TpmAlg::kSha256}, 256);
  return key;
}

// A quote that is accepted, all parts of which a test may change before it is judged.
struct QuoteCase {
  explicit QuoteCase(const FakeKey& signing_key = default_fake_key())
      : signer(&signing_key), key(signing_key.object()) {
    for (unsigned index : {0U, 4U, 8U}) CHECK(pcrs.set({bank, index}, filled(32, index + 1)));
    expectation.challenge = Challenge{filled(32, 0x11), {}};
    expectation.challenge->requester_key.emplace().fill(std::byte{0x22});
    expectation.parent_name = endorsement_hierarchy();
    expectation.pcrs = {{bank, 1U << 0 | 1U << 4}};
    quote.kind = {kTpmGeneratedValue, kTpmStAttestQuote};
    quote.qualified_signer = qualified_name(key, *expectation.parent_name).value();
    quote.extra_data = qualifying_data(*expectation.challenge).value();
    quote.clock = {.clock_ms = 123456, .reset_count = 7, .restart_count = 1, .safe = true};
    quote.firmware_version = 0x2019102300163636;
    quote.selections = {{bank, 1U << 0 | 1U << 4 | 1U << 8}};
    quote.pcr_digest = pcr_digest(*strong_hash(key.scheme_hash), quote.selections, pcrs).value();
  }

  // Signs what the quote now is.
  QuoteVerdict judge(const CheckSwitches& switches = {}) const {
    const Bytes attest = encode(quote);
    return judge_signed(attest, encode(signer->sign(attest)), switches);
  }
  QuoteVerdict judge_signed(std::span<const std::byte> attest, std::span<const std::byte> signature,
                            const CheckSwitches& switches = {}) const {
    return verify_quote({.attest = attest, .signature = signature, .key = key, .pcrs = pcrs},
                        expectation, switches);
  }

  static constexpr TpmAlg bank = TpmAlg::kSha256;
  const FakeKey* signer;
  TpmPublic key;  // as the verifier is told
  PcrValues pcrs;
  QuoteExpectation expectation;
  TpmQuote quote;
};

}  // namespace bulkhead
