// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crypto/hash.h"

struct evp_md_st;  // OpenSSL's EVP_MD

namespace bulkhead {

// Fetched once, and kept for the process's life: OpenSSL's EVP_sha256() and its like are looked up
// among all providers' algorithms anew by each use, which takes longer than to hash a block. Null
// if the library does not have it. Threads may share it.
const evp_md_st* openssl_hash(HashAlgorithm algorithm);

}  // namespace bulkhead
