// SPDX-License-Identifier: Apache-2.0
#include "hostca/make_credential.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <string_view>

#include "crypto/kdf.h"
#include "crypto/openssl_bytes.h"
#include "crypto/random.h"

namespace bulkhead::hostca {
namespace {

constexpr std::size_t kSeedBytes = 32;  // a digest of the endorsement key's name algorithm
constexpr std::size_t kMaxSecretBytes = 32;
constexpr std::size_t kSymmetricBytes = 16;
// Labels of TPM 2.0 Part 1, 24. All are used with their NUL.
constexpr std::string_view kIdentity("IDENTITY\0", 9);
constexpr std::string_view kStorage("STORAGE", 7);
constexpr std::string_view kIntegrity("INTEGRITY", 9);

struct Release {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

struct ErrorQueueCleaner {
  ~ErrorQueueCleaner() { ERR_clear_error(); }
};

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

OSSL_PARAM text(const char* name, const char* value) {
  return OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0);
}
OSSL_PARAM octets(const char* name, std::span<const std::byte> bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::byte*>(bytes.data()),
                                           bytes.size());
}

Result<SecretBytes> derive(const char* function, const OSSL_PARAM* parameters,
                           std::size_t size_bytes) {
  SecretBytes derived = TRY(SecretBytes::create(size_bytes));
  const Owned<EVP_KDF> kdf(EVP_KDF_fetch(nullptr, function, nullptr));
  const Owned<EVP_KDF_CTX> context(EVP_KDF_CTX_new(kdf.get()));
  if (context == nullptr ||
      EVP_KDF_derive(context.get(), openssl_bytes(derived.bytes()), size_bytes, parameters) != 1) {
    return openssl_failed();
  }
  return derived;
}

// KDFa, TPM 2.0 Part 1, 11.4.10.2: SP 800-108's counter mode with HMAC-SHA-256.
Result<SecretBytes> kdfa(const SecretBytes& key, std::string_view label,
                         std::span<const std::byte> context, std::size_t size_bytes) {
  const OSSL_PARAM parameters[] = {text(OSSL_KDF_PARAM_MODE, "counter"),
                                   text(OSSL_KDF_PARAM_MAC, "HMAC"),
                                   text(OSSL_KDF_PARAM_DIGEST, "SHA256"),
                                   octets(OSSL_KDF_PARAM_KEY, key.bytes()),
                                   octets(OSSL_KDF_PARAM_SALT, as_bytes(label)),
                                   octets(OSSL_KDF_PARAM_INFO, context),
                                   OSSL_PARAM_construct_end()};
  return derive("KBKDF", parameters, size_bytes);
}

// KDFe, 11.4.10.3: SP 800-56C's one-step derivation with SHA-256.
Result<SecretBytes> kdfe(const SecretBytes& z, std::span<const std::byte> other_info) {
  const OSSL_PARAM parameters[] = {
      text(OSSL_KDF_PARAM_DIGEST, "SHA256"), octets(OSSL_KDF_PARAM_SECRET, z.bytes()),
      octets(OSSL_KDF_PARAM_INFO, other_info), OSSL_PARAM_construct_end()};
  return derive("SSKDF", parameters, kSeedBytes);
}

Result<Owned<EVP_PKEY>> openssl_key(const TpmPublic& object) {
  const PublicKey key = TRY(public_key(object));
  const Bytes info = TRY(key.info());
  const unsigned char* position = openssl_bytes(info);
  Owned<EVP_PKEY> made(d2i_PUBKEY(nullptr, &position, openssl_length(info)));
  if (made == nullptr) return openssl_failed();
  return made;
}

struct Seed {
  SecretBytes seed;
  Bytes encrypted;
};

// RSAES_OAEP with the name algorithm and the label, TPM 2.0 Part 1, B.10.2.
Result<Seed> seed_for_rsa(EVP_PKEY* key) {
  Seed made{.seed = TRY(SecretBytes::random(kSeedBytes)), .encrypted = Bytes(256)};
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key, nullptr));
  void* label = OPENSSL_memdup(kIdentity.data(), kIdentity.size());
  if (context == nullptr || label == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label, static_cast<int>(kIdentity.size())) !=
          1) {
    return openssl_failed();
  }
  std::size_t size = made.encrypted.size();
  if (EVP_PKEY_encrypt(context.get(), openssl_bytes(std::span(made.encrypted)), &size,
                       openssl_bytes(made.seed.bytes()), kSeedBytes) != 1) {
    return openssl_failed();
  }
  made.encrypted.resize(size);
  return made;
}

// The x and y of a key's point, 32 bytes each: the end of an uncompressed SubjectPublicKeyInfo.
Result<std::pair<Bytes, Bytes>> point_of(const EVP_PKEY* key) {
  unsigned char point[65] = {};
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point,
                                      &size) != 1 ||
      size != sizeof point) {
    return openssl_failed();
  }
  const auto bytes = std::as_bytes(std::span(point));
  return std::pair(copy_of(bytes.subspan(1, 32)), copy_of(bytes.subspan(33)));
}

// One-pass Diffie-Hellman with a key made for it, TPM 2.0 Part 1, C.6.1.
Result<Seed> seed_for_ecc(EVP_PKEY* key) {
  const Owned<EVP_PKEY> own(EVP_EC_gen("P-256"));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(own.get(), nullptr));
  SecretBytes z = TRY(SecretBytes::create(32));
  std::size_t size = z.size();
  if (context == nullptr || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), key) != 1 ||
      EVP_PKEY_derive(context.get(), openssl_bytes(z.bytes()), &size) != 1 || size != z.size()) {
    return openssl_failed();
  }
  const auto [own_x, own_y] = TRY(point_of(own.get()));
  const auto peer = TRY(point_of(key));
  const Bytes info = TpmWriter().raw(as_bytes(kIdentity)).raw(own_x).raw(peer.first).take();
  return Seed{.seed = TRY(kdfe(z, info)),
              .encrypted = TpmWriter().sized(own_x).sized(own_y).take()};
}

// AES-128-CFB with an IV of zero: the key is used once.
Result<Bytes> encrypt(const SecretBytes& key, std::span<const std::byte> plaintext) {
  constexpr unsigned char kZero[16] = {};
  Bytes ciphertext(plaintext.size());
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  int size = 0;
  if (context == nullptr ||
      EVP_EncryptInit_ex2(context.get(), EVP_aes_128_cfb128(), openssl_bytes(key.bytes()), kZero,
                          nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), openssl_bytes(std::span(ciphertext)), &size,
                        openssl_bytes(plaintext), openssl_length(plaintext)) != 1) {
    return openssl_failed();
  }
  return ciphertext;
}

bool is_usual(const TpmPublic& key) {
  const bool p256 = std::holds_alternative<TpmEccKey>(key.key) &&
                    std::get_if<TpmEccKey>(&key.key)->curve == Curve::kP256;
  const bool rsa2048 = std::holds_alternative<TpmRsaKey>(key.key) &&
                       std::get_if<TpmRsaKey>(&key.key)->key_bits == 2048;
  return (p256 || rsa2048) && key.name_algorithm == TpmAlg::kSha256 &&
         key.symmetric == TpmSymmetric{TpmAlg::kAes, 128, TpmAlg::kCfb};
}

}  // namespace

Result<TpmCredential> make_credential(const TpmPublic& endorsement_key,
                                      std::span<const std::byte> name,
                                      std::span<const std::byte> secret) {
  const ErrorQueueCleaner cleaner;
  CHECK(secret.size() <= kMaxSecretBytes);
  if (!is_usual(endorsement_key)) {
    return Error{Errc::kUnsupported, 0, "an endorsement key other than RSA 2048 and P-256"};
  }
  const Owned<EVP_PKEY> key = TRY(openssl_key(endorsement_key));
  const bool rsa = std::holds_alternative<TpmRsaKey>(endorsement_key.key);
  Seed seed = TRY(rsa ? seed_for_rsa(key.get()) : seed_for_ecc(key.get()));
  const SecretBytes symmetric = TRY(kdfa(seed.seed, kStorage, name, kSymmetricBytes));
  const SecretBytes integrity = TRY(kdfa(seed.seed, kIntegrity, {}, kSeedBytes));
  const Bytes identity = TRY(encrypt(symmetric, TpmWriter().sized(secret).take()));
  const Sha256Digest hmac = TRY(hmac_sha256(integrity.bytes(), {identity, name}));
  return TpmCredential{.id_object = TpmWriter().sized(hmac).raw(identity).take(),
                       .encrypted_secret = std::move(seed.encrypted)};
}

}  // namespace bulkhead::hostca
