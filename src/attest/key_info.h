// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/tpm_public.h"

namespace bulkhead {

// The SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a TPM's key in DER, as its certificate has it:
// rsaEncryption (RFC 3279, 2.3.1), or id-ecPublicKey with a named curve and an uncompressed point
// (RFC 5480, 2). One form for each key, so that comparing the bytes compares the keys.
Bytes subject_public_key_info(const TpmPublic& object);

// AlgorithmIdentifier (RFC 5480, 2.1.1) in DER of keys on that curve.
std::span<const unsigned char> algorithm_identifier(Curve curve);

}  // namespace bulkhead
