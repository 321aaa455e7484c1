// SPDX-License-Identifier: Apache-2.0
#include "hostca/templates.h"

#include "crypto/digest.h"

namespace bulkhead::hostca {
namespace {

using namespace tpma_object;

constexpr std::uint32_t kOnlyHere = kFixedTpm | kFixedParent | kSensitiveDataOrigin;
// The digest of TPM2_PolicySecret(TPM_RH_ENDORSEMENT): TCG EK Credential Profile 2.5, B.3.
constexpr std::string_view kEndorsementPolicy =
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

TpmPublic endorsement_form() {
  TpmPublic form;
  form.attributes = kOnlyHere | kAdminWithPolicy | kRestricted | kDecrypt;
  form.auth_policy = decode_hex(kEndorsementPolicy).value();
  form.symmetric = {TpmAlg::kAes, 128, TpmAlg::kCfb};
  return form;
}

TpmPublic signing_form(std::uint32_t attributes) {
  TpmPublic form;
  form.attributes = kOnlyHere | kUserWithAuth | kNoDa | kSign | attributes;
  form.scheme = TpmAlg::kEcdsa;
  form.scheme_hash = TpmAlg::kSha256;
  form.key = TpmEccKey{};
  return form;
}

}  // namespace

TpmPublic rsa_endorsement_template() {
  TpmPublic form = endorsement_form();
  form.key = TpmRsaKey{.key_bits = 2048, .exponent = 0, .modulus = Bytes(256)};
  return form;
}

TpmPublic ecc_endorsement_template() {
  TpmPublic form = endorsement_form();
  form.key = TpmEccKey{.curve = Curve::kP256, .x = Bytes(32), .y = Bytes(32)};
  return form;
}

TpmPublic partition_ca_template(std::span<const std::byte> secret) {
  TpmPublic form = signing_form(0);
  form.key = TpmEccKey{.curve = Curve::kP256, .x = copy_of(secret), .y = Bytes(32)};
  return form;
}

TpmPublic attestation_key_template() {
  return signing_form(kRestricted);
}

bool is_of(const TpmPublic& key, const TpmPublic& form) {
  if (key.key.index() != form.key.index()) return false;
  TpmPublic same = key;
  same.key = form.key;
  if (!(same == form)) return false;
  if (const auto* rsa = std::get_if<TpmRsaKey>(&key.key)) {
    return rsa->key_bits == std::get_if<TpmRsaKey>(&form.key)->key_bits && rsa->exponent == 0;
  }
  return std::get_if<TpmEccKey>(&key.key)->curve == std::get_if<TpmEccKey>(&form.key)->curve;
}

}  // namespace bulkhead::hostca
