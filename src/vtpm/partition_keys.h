// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vtpm/platform.h"

namespace bulkhead::vtpm {

// Where certificates lie: docs/formats/vtpm.md. The first and the last are of the TCG EK Credential
// Profile; the other one is in the range that the TCG leaves to a platform's maker.
inline constexpr std::uint32_t kEndorsementCertificateIndex = 0x01c0000a;
inline constexpr std::uint32_t kAttestationCertificateIndex = 0x01400b01;
inline constexpr std::uint32_t kChainIndex = 0x01c00100;  // and those that follow it
inline constexpr std::size_t kMaxChainIndexes = 4;

// The public areas of the two keys that follow from a TPM's seed.
struct PublicAreas {
  Bytes endorsement_key;
  Bytes attestation_key;
};
Result<PublicAreas> show_keys(Platform& platform);

struct Certificates {
  std::span<const std::byte> endorsement_key;
  std::span<const std::byte> attestation_key;
  std::span<const std::byte> chain;
};
// What is longer than there is room for is an error, and nothing is written.
Result<void> write_certificates(Platform& platform, const Certificates& certificates);
// So that none is left of another time, or another host.
Result<void> remove_certificates(Platform& platform);

}  // namespace bulkhead::vtpm
