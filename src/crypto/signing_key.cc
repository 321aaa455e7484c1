// SPDX-License-Identifier: Apache-2.0
#include "crypto/signing_key.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <string_view>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"

namespace bulkhead {
namespace {

constexpr std::string_view kGroup = "prime256v1";  // OpenSSL's name of P-256

struct Release {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

bool is_p256(const EVP_PKEY* key) {
  char name[32] = {};
  std::size_t length = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, name, sizeof name, &length) == 1 && kGroup == name;
}

// Never asks a terminal for a password.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) {
  return -1;
}

}  // namespace

void SigningKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<SigningKey> SigningKey::generate() {
  Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return openssl_failed();
  return SigningKey(std::move(key));
}

Result<SigningKey> SigningKey::from_pem(std::span<const std::byte> pem) {
  const ErrorQueueCleaner cleaner;
  if (pem.empty()) return Error{Errc::kMalformed, 0, "an empty file is no private key"};
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), openssl_length(pem)));
  if (bio == nullptr) return openssl_failed();
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (key == nullptr) {
    return Error{Errc::kMalformed, 0, "not a private key in PEM without a password"};
  }
  if (!is_p256(key.get())) {
    return Error{Errc::kUnsupported, 0,
                 "not a key of ECDSA on P-256: make one with 'openssl genpkey -algorithm EC "
                 "-pkeyopt ec_paramgen_curve:P-256'"};
  }
  return SigningKey(std::move(key));
}

Result<SecretBytes> SigningKey::pem() const {
  const Owned<BIO> bio(BIO_new(BIO_s_secmem()));
  if (bio == nullptr ||
      PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_failed();
  }
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  if (length <= 0) return openssl_failed();
  return SecretBytes::copy_of(std::as_bytes(std::span(text, static_cast<std::size_t>(length))));
}

Result<std::vector<std::byte>> SigningKey::public_info() const {
  unsigned char* encoded = nullptr;
  const int length = i2d_PUBKEY(key_.get(), &encoded);
  const Owned<unsigned char> owned(encoded);
  if (length <= 0) return openssl_failed();
  const auto bytes = std::as_bytes(std::span(encoded, static_cast<std::size_t>(length)));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

Result<std::vector<std::byte>> SigningKey::sign(std::span<const std::byte> message) const {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1) {
    return openssl_failed();
  }
  std::vector<std::byte> signature(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())));
  std::size_t size = signature.size();
  if (EVP_DigestSign(context.get(), openssl_bytes(std::span(signature)), &size,
                     openssl_bytes(message), message.size()) != 1) {
    return openssl_failed();
  }
  signature.resize(size);
  return signature;
}

Result<SigningKey::Es256Signature> SigningKey::sign_es256(
    std::span<const std::byte> message) const {
  constexpr int kNumberBytes = 32;
  const ErrorQueueCleaner cleaner;
  const std::vector<std::byte> der = TRY(sign(message));
  const unsigned char* position = openssl_bytes(der);
  const Owned<ECDSA_SIG> pair(d2i_ECDSA_SIG(nullptr, &position, openssl_length(der)));
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
