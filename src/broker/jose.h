// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "broker/bytes.h"
#include "crypto/secret_bytes.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace bulkhead::broker {

// What an agreed secret becomes a key for. RFC 7518, 4.6.2.
struct KdfPurpose {
  std::string_view algorithm;  // AlgorithmID
  std::string_view producer;   // PartyUInfo, not encoded
  std::string_view consumer;   // PartyVInfo, not encoded
  std::size_t key_bytes = 32;  // at most 32: one round
};

// The Concat KDF of NIST SP 800-56A with SHA-256.
Result<SecretBytes> concat_kdf(std::span<const std::byte> secret, const KdfPurpose& purpose);

// AES-256 key wrap (RFC 3394) of a key of 32 bytes.
Result<Bytes> aes_key_wrap(const SecretBytes& wrapping_key, const SecretBytes& key);

// The same undone. kMalformed if it was wrapped by another key, or changed.
Result<SecretBytes> aes_key_unwrap(const SecretBytes& wrapping_key,
                                   std::span<const std::byte> wrapped);

// The x-coordinate that both sides come to.
Result<SecretBytes> agree_ecdh(evp_pkey_st* own, evp_pkey_st* peer);

// RSAES-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 7518, 4.3).
Result<Bytes> encrypt_rsa_oaep(evp_pkey_st* key, const SecretBytes& message);

}  // namespace bulkhead::broker
