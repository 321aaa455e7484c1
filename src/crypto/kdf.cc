// SPDX-License-Identifier: Apache-2.0
#include "crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>
#include <memory>

#include "crypto/openssl_bytes.h"

namespace bulkhead {
namespace {

struct FreeKdf {
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
};
struct FreeMac {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
};

// OpenSSL's parameters are never written through by the algorithms used here, but not const.
OSSL_PARAM octets(const char* name, std::span<const std::byte> bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::byte*>(bytes.data()),
                                           bytes.size());
}
OSSL_PARAM sha256() {
  static constexpr char kName[] = "SHA256";
  return OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>(kName), 0);
}

}  // namespace

Result<SecretBytes> hkdf_sha256(const HkdfInput& input, std::size_t size_bytes) {
  const std::unique_ptr<EVP_KDF, FreeKdf> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  if (kdf == nullptr) return openssl_failed();
  const std::unique_ptr<EVP_KDF_CTX, FreeKdf> context(EVP_KDF_CTX_new(kdf.get()));
  if (context == nullptr) return openssl_failed();
  std::array<OSSL_PARAM, 5> params = {
      sha256(), octets(OSSL_KDF_PARAM_KEY, input.key), octets(OSSL_KDF_PARAM_INFO, input.info),
      // RFC 5869 takes a missing salt as zeroes; OpenSSL wants it left out then.
      input.salt.empty() ? OSSL_PARAM_construct_end() : octets(OSSL_KDF_PARAM_SALT, input.salt),
      OSSL_PARAM_construct_end()};
  SecretBytes key = TRY(SecretBytes::create(size_bytes));
  if (EVP_KDF_derive(context.get(), openssl_bytes(key.bytes()), key.size(), params.data()) != 1) {
    return openssl_failed();
  }
  return key;
}

Result<Sha256Digest> hmac_sha256(std::span<const std::byte> key,
                                 std::initializer_list<std::span<const std::byte>> parts) {
  const std::unique_ptr<EVP_MAC, FreeMac> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  if (mac == nullptr) return openssl_failed();
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_new(mac.get()));
  if (context == nullptr) return openssl_failed();
  std::array<OSSL_PARAM, 2> params = {sha256(), OSSL_PARAM_construct_end()};
  if (EVP_MAC_init(context.get(), openssl_bytes(key), key.size(), params.data()) != 1) {
    return openssl_failed();
  }
  for (std::span<const std::byte> part : parts) {
    if (EVP_MAC_update(context.get(), openssl_bytes(part), part.size()) != 1) {
      return openssl_failed();
    }
  }
  Sha256Digest digest;
  std::size_t length = 0;
  if (EVP_MAC_final(context.get(), openssl_bytes(std::span<std::byte>(digest)), &length,
                    digest.size()) != 1 ||
      length != digest.size()) {
    return openssl_failed();
  }
  return digest;
}

}  // namespace bulkhead
