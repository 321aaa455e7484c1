// SPDX-License-Identifier: Apache-2.0
#include "broker/jose.h"

#include <openssl/rsa.h>

#include <algorithm>
#include <array>

#include "broker/openssl_objects.h"
#include "crypto/digest.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead::broker {
namespace {

constexpr std::size_t kWrapOverhead = 8;

void put_be32(Bytes& out, std::size_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::byte>(number >> shift & 0xff));
  }
}

void put_text(Bytes& out, std::string_view text) {
  put_be32(out, text.size());
  std::ranges::copy(bytes_of(text), std::back_inserter(out));
}

// OtherInfo of RFC 7518, 4.6.2.
Bytes other_info(const KdfPurpose& purpose) {
  Bytes info;
  put_text(info, purpose.algorithm);
  put_text(info, purpose.producer);
  put_text(info, purpose.consumer);
  put_be32(info, purpose.key_bytes * 8);
  return info;
}

}  // namespace

Result<SecretBytes> concat_kdf(std::span<const std::byte> secret, const KdfPurpose& purpose) {
  CHECK(purpose.key_bytes <= sizeof(Sha256Digest));
  constexpr std::array kRound = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}};
  Sha256 hash = TRY(Sha256::create());
  TRY(hash.update(kRound));
  TRY(hash.update(secret));
  TRY(hash.update(other_info(purpose)));
  Sha256Digest digest = TRY(std::move(hash).finish());
  Result<SecretBytes> key = SecretBytes::copy_of(std::span(digest).first(purpose.key_bytes));
  wipe(digest);
  return key;
}

Result<Bytes> aes_key_wrap(const SecretBytes& wrapping_key, const SecretBytes& key) {
  CHECK(wrapping_key.size() == 32 && key.size() % 8 == 0);
  const OpensslErrors cleaner;
  const Openssl<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  if (context == nullptr) return openssl_failed();
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Bytes out(key.size() + kWrapOverhead);
  int length = 0;
  if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_wrap(), nullptr,
                         openssl_bytes(wrapping_key.bytes()), nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), openssl_bytes(std::span(out)), &length,
                        openssl_bytes(key.bytes()), openssl_length(key.bytes())) != 1 ||
      static_cast<std::size_t>(length) != out.size()) {
    return openssl_failed();
  }
  return out;
}

Result<SecretBytes> aes_key_unwrap(const SecretBytes& wrapping_key,
                                   std::span<const std::byte> wrapped) {
  CHECK(wrapping_key.size() == 32);
  const Error other{Errc::kMalformed, 0, "a key that was wrapped by another one, or was changed"};
  if (wrapped.size() < 2 * kWrapOverhead || wrapped.size() % 8 != 0) return other;
  const OpensslErrors cleaner;
  const Openssl<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  if (context == nullptr) return openssl_failed();
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  // As much as OpenSSL may write on its way.
  SecretBytes out = TRY(SecretBytes::create(wrapped.size()));
  int length = 0;
  if (EVP_DecryptInit_ex(context.get(), EVP_aes_256_wrap(), nullptr,
                         openssl_bytes(wrapping_key.bytes()), nullptr) != 1) {
    return openssl_failed();
  }
  if (EVP_DecryptUpdate(context.get(), openssl_bytes(out.bytes()), &length, openssl_bytes(wrapped),
                        openssl_length(wrapped)) != 1 ||
      static_cast<std::size_t>(length) != wrapped.size() - kWrapOverhead) {
    return other;
  }
  return SecretBytes::copy_of(out.bytes().first(wrapped.size() - kWrapOverhead));
}

Result<SecretBytes> agree_ecdh(evp_pkey_st* own, evp_pkey_st* peer) {
  const OpensslErrors cleaner;
  const Openssl<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(own, nullptr));
  std::size_t size = 0;
  if (context == nullptr || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1) {
    return openssl_failed();
  }
  SecretBytes secret = TRY(SecretBytes::create(size));
  if (EVP_PKEY_derive(context.get(), openssl_bytes(secret.bytes()), &size) != 1 ||
      size != secret.size()) {
    return openssl_failed();
  }
  return secret;
}

Result<Bytes> encrypt_rsa_oaep(evp_pkey_st* key, const SecretBytes& message) {
  const OpensslErrors cleaner;
  const Openssl<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key, nullptr));
  if (context == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_sha256()) != 1) {
    return openssl_failed();
  }
  Bytes out(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = out.size();
  if (EVP_PKEY_encrypt(context.get(), openssl_bytes(std::span(out)), &size,
                       openssl_bytes(message.bytes()), message.size()) != 1) {
    return openssl_failed();
  }
  out.resize(size);
  return out;
}

}  // namespace bulkhead::broker
