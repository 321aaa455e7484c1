// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/report.h"
#include "attest/tpm_public.h"
#include "attest/trust_store.h"

namespace bulkhead {

inline constexpr std::size_t kMinChain = 2;  // the key's own certificate, and its partition CA's
inline constexpr std::size_t kMaxChain = 5;

struct CertificateEvidence {
  std::span<const Bytes> chain;  // DER, from the attestation key's certificate up
  const TpmPublic& key;          // the attestation key that made the quote
};

// Makes the checks kCertificateChain to kHostIdentity. What the chain says of the host, which is to
// be believed only if all of them passed.
std::optional<HostIdentity> judge_certificates(Report& report, const CertificateEvidence& evidence,
                                               const TrustStore& trust, UtcTime now);

}  // namespace bulkhead
