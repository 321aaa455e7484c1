// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crypto/public_key.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// TPMT_SIGNATURE, TPM 2.0 Part 2, 11.3.4, of the schemes that a quote may have.
struct TpmSignature {
  TpmAlg scheme = TpmAlg::kRsassa;  // kRsassa, kRsapss, kEcdsa
  TpmAlg hash = TpmAlg::kSha256;    // any hash function, also a weak one
  Bytes first;                      // RSA's signature, or ECDSA's r
  Bytes second;                     // ECDSA's s; empty for RSA

  bool operator==(const TpmSignature&) const = default;
};

// kUnsupported for another scheme or an unknown hash function.
Result<TpmSignature> parse_tpm_signature(std::span<const std::byte> bytes);

// The same for PublicKey::verify; kUnsupported for a hash function other than SHA-256 and SHA-384.
Result<SignatureView> signature_view(const TpmSignature& signature);

}  // namespace bulkhead
