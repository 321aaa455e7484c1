// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/tpm_public.h"

namespace bulkhead::hostca {

// What TPM2_ActivateCredential takes.
struct TpmCredential {
  Bytes id_object;         // content of a TPM2B_ID_OBJECT
  Bytes encrypted_secret;  // content of a TPM2B_ENCRYPTED_SECRET
};

// TPM2_MakeCredential (TPM 2.0 Part 1, 24) without a TPM: only one that has the endorsement key
// and, in it, the object with this name gets the secret back. At most 32 bytes of secret; keys of
// RSA 2048 and P-256 whose names are of SHA-256 and which protect with AES-128, as all endorsement
// keys do that are made by the templates L-1 and L-2.
Result<TpmCredential> make_credential(const TpmPublic& endorsement_key,
                                      std::span<const std::byte> name,
                                      std::span<const std::byte> secret);

}  // namespace bulkhead::hostca
