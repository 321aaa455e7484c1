// SPDX-License-Identifier: Apache-2.0
#include "crypto/keyed_digest.h"

#include <openssl/evp.h>

#include <bit>
#include <cstring>

#include "crypto/openssl_bytes.h"

namespace bulkhead {
namespace {

// The key's first half is Poly1305's: the hash's key and, where a one-time pad would be, zeroes,
// since AES hides the result instead. The second half is the cipher's.
constexpr std::size_t kHalf = KeyedDigest::kKeyBytes / 2;

}  // namespace

void KeyedDigest::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}
void KeyedDigest::Free::operator()(evp_mac_ctx_st* context) const {
  EVP_MAC_CTX_free(context);
}

Result<SecretBytes> KeyedDigest::make_key() {
  SecretBytes key = TRY(SecretBytes::random(kKeyBytes));
  wipe(key.bytes().subspan(kHashKeyBytes, kHalf - kHashKeyBytes));
  return key;
}

Result<KeyedDigest> KeyedDigest::create(const SecretBytes& key) {
  if (key.size() != kKeyBytes) {
    return Error{Errc::kInvalidArgument, 0, "a key of digests has 64 bytes"};
  }
  EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
  Hash hash(EVP_MAC_CTX_new(algorithm));
  EVP_MAC_free(algorithm);  // the context has its own reference
  Cipher cipher(EVP_CIPHER_CTX_new());
  if (hash == nullptr || cipher == nullptr ||
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_ecb(), nullptr,
                         openssl_bytes(key.bytes().subspan(kHalf)), nullptr) != 1) {
    return openssl_failed();
  }
  return KeyedDigest(key, std::move(hash), std::move(cipher));
}

Result<KeyedDigest::Value> KeyedDigest::of(std::uint64_t domain, std::span<const std::byte> bytes) {
  Value value;
  const std::span<std::byte> whole(value);
  std::size_t size = 0;
  if (EVP_MAC_init(hash_.get(), openssl_bytes(key_->bytes().first(kHalf)), kHalf, nullptr) != 1 ||
      EVP_MAC_update(hash_.get(), openssl_bytes(bytes), bytes.size()) != 1 ||
      EVP_MAC_final(hash_.get(), openssl_bytes(whole), &size, value.size()) != 1 ||
      size != value.size()) {
    return openssl_failed();
  }
  std::uint64_t low;
  std::memcpy(&low, value.data(), sizeof low);
  low ^= domain;
  std::memcpy(value.data(), &low, sizeof low);
  int length = 0;
  if (EVP_EncryptUpdate(cipher_.get(), openssl_bytes(whole), &length, openssl_bytes(whole),
                        openssl_length(whole)) != 1) {
    return openssl_failed();
  }
  return value;
}

}  // namespace bulkhead
