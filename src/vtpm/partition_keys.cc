// SPDX-License-Identifier: Apache-2.0
#include "vtpm/partition_keys.h"

#include <algorithm>

#include "crypto/digest.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::uint16_t kEccNistP256 = 0x0003;  // TPM_ECC_CURVE
// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
constexpr std::uint32_t kEndorsementAttributes = 0x000300b2;
// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign.
constexpr std::uint32_t kAttestationAttributes = 0x00050472;
// The digest of TPM2_PolicySecret(TPM_RH_ENDORSEMENT).
constexpr std::string_view kEndorsementPolicy =
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

// TCG EK Credential Profile 2.5, template L-2.
Bytes endorsement_form() {
  const Bytes policy = decode_hex(kEndorsementPolicy).value();
  const Bytes zero(32);
  TpmWriter writer;
  writer.algorithm(TpmAlg::kEcc).algorithm(TpmAlg::kSha256).u32(kEndorsementAttributes);
  writer.sized(policy).algorithm(TpmAlg::kAes).u16(128).algorithm(TpmAlg::kCfb);
  writer.algorithm(TpmAlg::kNull).u16(kEccNistP256).algorithm(TpmAlg::kNull);
  return writer.sized(zero).sized(zero).take();
}

Bytes attestation_form() {
  TpmWriter writer;
  writer.algorithm(TpmAlg::kEcc).algorithm(TpmAlg::kSha256).u32(kAttestationAttributes).u16(0);
  writer.algorithm(TpmAlg::kNull).algorithm(TpmAlg::kEcdsa).algorithm(TpmAlg::kSha256);
  return writer.u16(kEccNistP256).algorithm(TpmAlg::kNull).u16(0).u16(0).take();
}

}  // namespace

Result<PublicAreas> show_keys(Platform& platform) {
  PublicAreas areas;
  areas.endorsement_key = TRY(platform.show_primary(endorsement_form()));
  areas.attestation_key = TRY(platform.show_primary(attestation_form()));
  return areas;
}

Result<void> write_certificates(Platform& platform, const Certificates& certificates) {
  constexpr std::size_t kMost = Platform::kMaxIndexBytes;
  if (std::max(certificates.endorsement_key.size(), certificates.attestation_key.size()) > kMost ||
      certificates.chain.size() > kMaxChainIndexes * kMost) {
    return Error{Errc::kExhausted, 0, "the host's certificates do not fit into the TPM"};
  }
  TRY(remove_certificates(platform));
  TRY(platform.write_index(kEndorsementCertificateIndex, certificates.endorsement_key));
  TRY(platform.write_index(kAttestationCertificateIndex, certificates.attestation_key));
  std::uint32_t index = kChainIndex;
  for (std::size_t at = 0; at < certificates.chain.size(); at += kMost) {
    const auto piece =
        certificates.chain.subspan(at, std::min(kMost, certificates.chain.size() - at));
    TRY(platform.write_index(index++, piece));
  }
  return {};
}

Result<void> remove_certificates(Platform& platform) {
  TRY(platform.remove_index(kEndorsementCertificateIndex));
  TRY(platform.remove_index(kAttestationCertificateIndex));
  for (std::uint32_t i = 0; i < kMaxChainIndexes; ++i) TRY(platform.remove_index(kChainIndex + i));
  return {};
}

}  // namespace bulkhead::vtpm
