// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/tpm_public.h"

// What keys of a host and of a partition's TPM look like: docs/formats/enrolment.md. A public area
// that is anything else is another key, whoever made it.

namespace bulkhead::hostca {

// TCG EK Credential Profile 2.5, templates L-1 (RSA 2048) and L-2 (P-256).
TpmPublic rsa_endorsement_template();
TpmPublic ecc_endorsement_template();

// The host's partition CA: a primary key of the owner hierarchy that signs, with ECDSA on P-256 and
// SHA-256. What is unique about it is a secret of 32 bytes, from which, and from the TPM's seed,
// the key follows: who does not have the secret cannot make the key in this TPM again.
TpmPublic partition_ca_template(std::span<const std::byte> secret);

// A partition's attestation key: a restricted signing key, primary in the endorsement hierarchy.
TpmPublic attestation_key_template();

// Whether the key is one of that template, whatever its point or modulus.
bool is_of(const TpmPublic& key, const TpmPublic& form);

}  // namespace bulkhead::hostca
