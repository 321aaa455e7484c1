// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/report.h"
#include "attest/tpm_public.h"
#include "attest/trust_store.h"

namespace bulkhead {

struct CertificateEvidence {
  std::span<const Bytes> chain;  // DER, from the attestation key's certificate up
  const TpmPublic& key;          // the attestation key that made the quote
  // Whether a signature of it was found good: then it need not be looked at once more.
  bool key_has_signed = false;
};

// Makes the checks kCertificateChain to kHostIdentity. What the chain says of the host, which is to
// be believed only if all of them passed.
std::optional<HostIdentity> judge_certificates(Report& report, const CertificateEvidence& evidence,
                                               const TrustStore& trust, UtcTime now);

}  // namespace bulkhead
