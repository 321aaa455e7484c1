// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "broker/requester_key.h"
#include "crypto/secret_bytes.h"

namespace bulkhead::broker {

// The secret in a JWE (RFC 7516, 7.2.2: flattened JSON) that only the key's owner opens: A256GCM
// under a fresh key, which goes to the owner as key.algorithm() says.
Result<std::string> encrypt_to(const RequesterKey& key, const SecretBytes& secret);

}  // namespace bulkhead::broker
