// SPDX-License-Identifier: Apache-2.0
#include "attest/certificate.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <string_view>

#include "crypto/openssl_bytes.h"
#include "crypto/openssl_errors.h"

namespace bulkhead {
namespace {

constexpr int kVersion3 = 2;  // as it is encoded
constexpr int kMaxExtensions = 32;
constexpr int kMaxSerialBytes = 20;
constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 4096;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}
Error unsupported(const char* what) {
  return Error{Errc::kUnsupported, 0, what};
}

std::span<const std::byte> bytes_of(const ASN1_STRING* string) {
  return std::as_bytes(std::span(ASN1_STRING_get0_data(string),
                                 static_cast<std::size_t>(ASN1_STRING_length(string))));
}
std::span<const std::byte> bytes_of(const ASN1_OBJECT* object) {
  return std::as_bytes(std::span(OBJ_get0_data(object), OBJ_length(object)));
}

// RFC 5280, 4.2: a certificate must not have two extensions of one kind. Readers that take the
// first, and such that take the last, would see different certificates.
bool has_extension_twice(const X509* certificate) {
  const int count = X509_get_ext_count(certificate);
  for (int i = 0; i < count; ++i) {
    const ASN1_OBJECT* object = X509_EXTENSION_get_object(X509_get_ext(certificate, i));
    if (X509_get_ext_by_OBJ(certificate, object, i) >= 0) return true;
  }
  return false;
}

bool has_good_serial(const X509* certificate) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate);
  const auto bytes = bytes_of(serial);
  return ASN1_STRING_type(serial) == V_ASN1_INTEGER && bytes.size() <= kMaxSerialBytes &&
         std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; });
}

bool has_known_key(X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return false;
  const int bits = EVP_PKEY_get_bits(key);
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) return bits >= kMinRsaBits && bits <= kMaxRsaBits;
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return false;
  char name[32] = {};
  if (EVP_PKEY_get_group_name(key, name, sizeof name, nullptr) != 1) return false;
  return std::string_view(name) == SN_X9_62_prime256v1 || std::string_view(name) == SN_secp384r1;
}

bool has_known_signature(const X509* certificate) {
  switch (X509_get_signature_nid(certificate)) {
    case NID_ecdsa_with_SHA256:
    case NID_ecdsa_with_SHA384:
    case NID_ecdsa_with_SHA512:
    case NID_sha256WithRSAEncryption:
    case NID_sha384WithRSAEncryption:
    case NID_sha512WithRSAEncryption:
      return true;
    default:
      return false;
  }
}

Result<void> check_every(X509* certificate) {
  if (X509_get_version(certificate) != kVersion3) return malformed("not of X.509 version 3");
  if (X509_get_ext_count(certificate) > kMaxExtensions) return malformed("too many extensions");
  if (has_extension_twice(certificate)) return malformed("an extension comes twice");
  const std::uint32_t flags = X509_get_extension_flags(certificate);
  if ((flags & EXFLAG_INVALID) != 0) return malformed("a malformed extension");
  if ((flags & EXFLAG_CRITICAL) != 0) return malformed("an unknown extension is critical");
  if (!has_good_serial(certificate)) return malformed("a serial number that is none");
  if (X509_NAME_entry_count(X509_get_subject_name(certificate)) == 0) {
    return malformed("an empty subject");
  }
  if (!has_known_key(certificate)) {
    return unsupported("a key that is neither P-256, P-384 nor RSA of 2048 to 4096 bits");
  }
  if (!has_known_signature(certificate)) {
    return unsupported("a signature other than ECDSA or RSA with SHA-2");
  }
  return {};
}

std::optional<UtcTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  const std::chrono::year_month_day date(
      std::chrono::year(parts.tm_year + 1900),
      std::chrono::month(static_cast<unsigned>(parts.tm_mon + 1)),
      std::chrono::day(static_cast<unsigned>(parts.tm_mday)));
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(parts.tm_hour) +
         std::chrono::minutes(parts.tm_min) + std::chrono::seconds(parts.tm_sec);
}

Result<Validity> validity_of(const X509* certificate) {
  const auto first = time_of(X509_get0_notBefore(certificate));
  const auto last = time_of(X509_get0_notAfter(certificate));
  if (!first || !last) return malformed("a time of validity that is none");
  return Validity{*first, *last};
}

// What one of OpenSSL's encoders gave: nothing, and a length that is not positive, if it failed.
Bytes taken(unsigned char* encoded, int length) {
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> owned(
      encoded);
  if (length <= 0) return {};
  return copy_of(std::as_bytes(std::span(encoded, static_cast<std::size_t>(length))));
}

X509_EXTENSION* extension(const X509* certificate, int kind) {
  const int place = X509_get_ext_by_NID(certificate, kind, -1);
  return place < 0 ? nullptr : X509_get_ext(certificate, place);
}

X509_EXTENSION* host_extension(const X509* certificate) {
  const int count = X509_get_ext_count(certificate);
  for (int i = 0; i < count; ++i) {
    X509_EXTENSION* found = X509_get_ext(certificate, i);
    if (std::ranges::equal(bytes_of(X509_EXTENSION_get_object(found)),
                           std::as_bytes(std::span(kHostIdentityOid)))) {
      return found;
    }
  }
  return nullptr;
}

bool is_critical(const X509* certificate, int kind) {
  const X509_EXTENSION* found = extension(certificate, kind);
  return found != nullptr && X509_EXTENSION_get_critical(found) == 1;
}

bool is_ca(X509* certificate) {
  return (X509_get_extension_flags(certificate) & EXFLAG_CA) != 0;
}

const char* fault_of_ca(X509* certificate) {
  if (!is_ca(certificate)) return "it is no CA";
  if ((X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0) return "it lacks keyCertSign";
  if (extension(certificate, NID_ext_key_usage) != nullptr) return "it has an extendedKeyUsage";
  return nullptr;
}

const char* fault_of_partition_ca(X509* certificate) {
  if (const char* fault = fault_of_ca(certificate)) return fault;
  if (X509_get_pathlen(certificate) != 0) return "its path length is not 0";
  if ((X509_get_key_usage(certificate) & ~std::uint32_t{KU_KEY_CERT_SIGN | KU_CRL_SIGN}) != 0) {
    return "its key is not for certificates alone";
  }
  return nullptr;
}

const char* fault_of_attestation_key(X509* certificate) {
  if (is_ca(certificate)) return "it is a CA";
  if (X509_get_key_usage(certificate) != KU_DIGITAL_SIGNATURE) {
    return "its keyUsage is not digitalSignature alone";
  }
  const X509_EXTENSION* usage = extension(certificate, NID_ext_key_usage);
  if (usage == nullptr ||
      !std::ranges::equal(bytes_of(X509_EXTENSION_get_data(const_cast<X509_EXTENSION*>(usage))),
                          std::as_bytes(std::span(kAttestationKeyUsage)))) {
    return "its extendedKeyUsage is not tcg-kp-AIKCertificate alone";
  }
  return nullptr;
}

}  // namespace

void Certificate::Free::operator()(x509_st* certificate) const {
  X509_free(certificate);
}

Result<Certificate> Certificate::parse(std::span<const std::byte> der) {
  const ErrorQueueCleaner cleaner;
  if (der.size() > kMaxCertificateBytes) return malformed("a certificate of more than 8 KiB");
  const unsigned char* position = openssl_bytes(der);
  Handle certificate(d2i_X509(nullptr, &position, openssl_length(der)));
  if (certificate == nullptr) return malformed("not a certificate");
  if (position != openssl_bytes(der) + der.size()) return malformed("bytes behind a certificate");
  TRY(check_every(certificate.get()));
  const Validity validity = TRY(validity_of(certificate.get()));
  return Certificate(std::move(certificate), validity);
}

const char* Certificate::fault_as(CertificateRole role) const {
  X509* certificate = certificate_.get();
  if (!is_critical(certificate, NID_basic_constraints)) return "it lacks critical basicConstraints";
  if (!is_critical(certificate, NID_key_usage)) return "it lacks a critical keyUsage";
  const bool names_host = host_extension(certificate) != nullptr;
  if (names_host && role != CertificateRole::kPartitionCa) return "it has a host's identity";
  switch (role) {
    case CertificateRole::kAttestationKey:
      return fault_of_attestation_key(certificate);
    case CertificateRole::kPartitionCa:
      return fault_of_partition_ca(certificate);
    case CertificateRole::kAuthority:
      return fault_of_ca(certificate);
  }
  return "it has no role";
}

Bytes Certificate::encode() const {
  unsigned char* encoded = nullptr;
  const int length = i2d_X509(certificate_.get(), &encoded);
  return taken(encoded, length);
}

Bytes Certificate::subject_public_key_info() const {
  unsigned char* encoded = nullptr;
  const int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate_.get()), &encoded);
  return taken(encoded, length);
}

Result<HostIdentity> Certificate::host_identity() const {
  X509_EXTENSION* found = host_extension(certificate_.get());
  if (found == nullptr) return Error{Errc::kNotFound, 0, "no host's identity"};
  const HostIdentity identity = TRY(parse_host_identity(bytes_of(X509_EXTENSION_get_data(found))));
  if (identity.kind == HostIdentity::Kind::kTpm) return identity;
  if (TRY(Sha256::of(subject_public_key_info())) != identity.fingerprint) {
    return malformed("a software key's identity that is not that of the certificate's own key");
  }
  return identity;
}

bool Certificate::is_self_issued() const {
  return (X509_get_extension_flags(certificate_.get()) & EXFLAG_SS) != 0;
}

}  // namespace bulkhead
