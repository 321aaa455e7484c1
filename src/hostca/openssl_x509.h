// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <span>

#include "crypto/openssl_bytes.h"
#include "measure/tpm_wire.h"

// OpenSSL's objects with owners, for the sources of this folder.

namespace bulkhead::hostca::x509 {

struct Release {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(ASN1_OBJECT* object) const { ASN1_OBJECT_free(object); }
  void operator()(ASN1_OCTET_STRING* string) const { ASN1_OCTET_STRING_free(string); }
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

// What OpenSSL refuses about foreign bytes leaves no error queued for the next caller.
struct ErrorQueueCleaner {
  ~ErrorQueueCleaner() { ERR_clear_error(); }
};

inline constexpr std::size_t kMaxCertificateBytes = 8192;

// Null unless the bytes are one certificate and nothing else.
inline Owned<X509> decode(std::span<const std::byte> der) {
  if (der.empty() || der.size() > kMaxCertificateBytes) return nullptr;
  const unsigned char* position = openssl_bytes(der);
  Owned<X509> certificate(d2i_X509(nullptr, &position, openssl_length(der)));
  if (position != openssl_bytes(der) + der.size()) return nullptr;
  return certificate;
}

inline Owned<EVP_PKEY> decode_key(std::span<const std::byte> public_info) {
  const unsigned char* position = openssl_bytes(public_info);
  return Owned<EVP_PKEY>(d2i_PUBKEY(nullptr, &position, openssl_length(public_info)));
}

// What an i2d function returned and left in `encoded`, whose owner this becomes.
inline Result<Bytes> take_der(int length, unsigned char* encoded) {
  const Owned<unsigned char> owned(encoded);
  if (length <= 0) return openssl_failed();
  return copy_of(std::as_bytes(std::span(encoded, static_cast<std::size_t>(length))));
}

inline Result<Bytes> encode(X509* certificate) {
  unsigned char* encoded = nullptr;
  const int length = i2d_X509(certificate, &encoded);
  return take_der(length, encoded);
}

}  // namespace bulkhead::hostca::x509
