// SPDX-License-Identifier: Apache-2.0
#include "crypto/es256_key.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <string_view>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"

namespace bulkhead {
namespace {

constexpr int kNumberBytes = 32;
constexpr std::size_t kMaxDerBytes = 72;  // two numbers of at most 33 bytes, and their heads

struct Release {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

// An encrypted key shall be refused, not asked about on a terminal.
int no_password(char*, int, int, void*) {
  return -1;
}

bool is_p256(EVP_PKEY* key) {
  char name[32] = {};
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, name, sizeof name, nullptr) == 1 &&
         std::string_view(name) == SN_X9_62_prime256v1;
}

}  // namespace

void Es256Key::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<Es256Key> Es256Key::from_pem(std::span<const std::byte> pem) {
  const ErrorQueueCleaner cleaner;
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), openssl_length(pem)));
  if (bio == nullptr) return openssl_failed();
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (key == nullptr) return Error{Errc::kMalformed, 0, "not an unencrypted private key in PEM"};
  if (!is_p256(key.get())) return Error{Errc::kUnsupported, 0, "not a key on P-256"};
  return Es256Key(std::move(key));
}

Result<Es256Key::Es256Signature> Es256Key::sign_es256(std::span<const std::byte> message) const {
  const ErrorQueueCleaner cleaner;
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  std::array<unsigned char, kMaxDerBytes> der{};
  std::size_t size = der.size();
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), der.data(), &size, openssl_bytes(message), message.size()) !=
          1) {
    return openssl_failed();
  }
  const unsigned char* position = der.data();
  const Owned<ECDSA_SIG> pair(d2i_ECDSA_SIG(nullptr, &position, static_cast<long>(size)));
  Es256Signature signature{};
  unsigned char* out = openssl_bytes(std::span<std::byte>(signature));
  if (pair == nullptr ||
      BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), out, kNumberBytes) != kNumberBytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), out + kNumberBytes, kNumberBytes) !=
          kNumberBytes) {
    return openssl_failed();
  }
  return signature;
}

}  // namespace bulkhead
