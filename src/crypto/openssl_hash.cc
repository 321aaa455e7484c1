// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl_hash.h"

#include <openssl/evp.h>

namespace bulkhead {

const EVP_MD* openssl_hash(HashAlgorithm algorithm) {
  static const EVP_MD* const kFetched[] = {
      EVP_MD_fetch(nullptr, "SHA1", nullptr),
      EVP_MD_fetch(nullptr, "SHA2-256", nullptr),
      EVP_MD_fetch(nullptr, "SHA2-384", nullptr),
      EVP_MD_fetch(nullptr, "SHA2-512", nullptr),
  };
  return kFetched[static_cast<std::size_t>(algorithm)];
}

}  // namespace bulkhead
