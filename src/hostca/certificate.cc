// SPDX-License-Identifier: Apache-2.0
#include "hostca/certificate.h"

#include <algorithm>

#include "attest/host_identity.h"
#include "crypto/random.h"
#include "hostca/openssl_x509.h"

namespace bulkhead::hostca {
namespace {

using x509::Owned;

constexpr std::int64_t kClockSkewSeconds = 300;
constexpr std::int64_t kDaySeconds = 86400;
constexpr std::size_t kMaxSubject = 64;  // ub-common-name, RFC 5280, appendix A
constexpr std::size_t kSerialBytes = 16;

struct ExtensionText {
  int nid;
  const char* value;  // in OpenSSL's notation
};

struct RoleProfile {
  const char* constraints;
  const char* rsa_usage;
  const char* ec_usage;
  const char* extended_usage;  // null: none
};

RoleProfile profile_of(CertificateRole role) {
  switch (role) {
    case CertificateRole::kPartitionCa:
      return {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign", "critical,keyCertSign",
              nullptr};
    case CertificateRole::kAttestationKey:
      return {"critical,CA:FALSE", "critical,digitalSignature", "critical,digitalSignature",
              "2.23.133.8.3"};  // tcg-kp-AIKCertificate
    case CertificateRole::kEndorsementKey:
      return {"critical,CA:FALSE", "critical,keyEncipherment", "critical,keyAgreement",
              "2.23.133.8.1"};  // tcg-kp-EKCertificate
  }
  return {};
}

bool is_subject(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSubject &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

bool set_serial(X509* certificate) {
  std::array<std::byte, kSerialBytes> bytes;
  if (!random_bytes(bytes)) return false;
  // Positive, and never shorter.
  bytes[0] = (bytes[0] & std::byte{0x3f}) | std::byte{0x40};
  const Owned<BIGNUM> number(
      BN_bin2bn(openssl_bytes(std::as_bytes(std::span(bytes))), kSerialBytes, nullptr));
  return number != nullptr &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_subject(X509* certificate, const std::string& name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  return X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
                                    openssl_bytes(std::as_bytes(std::span(name))),
                                    static_cast<int>(name.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, ExtensionText text) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(
      X509V3_EXT_conf_nid(nullptr, &context, text.nid, text.value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool add_host_identity(X509* certificate, const HostIdentity& identity) {
  const Bytes value = serialize(identity);
  const Owned<ASN1_OBJECT> type(OBJ_txt2obj(kHostIdentityOidText, 1));
  const Owned<ASN1_OCTET_STRING> octets(ASN1_OCTET_STRING_new());
  if (type == nullptr || octets == nullptr ||
      ASN1_OCTET_STRING_set(octets.get(), openssl_bytes(value), openssl_length(value)) != 1) {
    return false;
  }
  const Owned<X509_EXTENSION> extension(
      X509_EXTENSION_create_by_OBJ(nullptr, type.get(), 0, octets.get()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool add_extensions(X509* certificate, X509* issuer, const CertificateForm& form) {
  const RoleProfile profile = profile_of(form.role);
  const bool rsa = EVP_PKEY_get_base_id(X509_get0_pubkey(certificate)) == EVP_PKEY_RSA;
  const char* usage = rsa ? profile.rsa_usage : profile.ec_usage;
  // The issuer's key identifier is copied from its own, so a self-signed one needs that first.
  if (!add_extension(certificate, issuer, {NID_subject_key_identifier, "hash"}) ||
      !add_extension(certificate, issuer, {NID_authority_key_identifier, "keyid:always"}) ||
      !add_extension(certificate, issuer, {NID_basic_constraints, profile.constraints}) ||
      !add_extension(certificate, issuer, {NID_key_usage, usage})) {
    return false;
  }
  if (profile.extended_usage != nullptr &&
      !add_extension(certificate, issuer, {NID_ext_key_usage, profile.extended_usage})) {
    return false;
  }
  return !form.host || add_host_identity(certificate, *form.host);
}

bool fill(X509* certificate, X509* issuer, const CertificateForm& form) {
  const Owned<EVP_PKEY> key = x509::decode_key(form.public_info);
  return key != nullptr && X509_set_version(certificate, X509_VERSION_3) == 1 &&
         set_serial(certificate) && set_subject(certificate, form.subject) &&
         X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
         ASN1_TIME_set(X509_getm_notBefore(certificate), form.validity.not_before) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), form.validity.not_after) != nullptr &&
         X509_set_pubkey(certificate, key.get()) == 1 && add_extensions(certificate, issuer, form);
}

// OpenSSL signs with keys that it has only. So a key made for this signs first, which fills in the
// algorithm; then the signature proper takes the place of that.
Result<void> sign(X509* certificate, IssuerKey& key) {
  const Owned<EVP_PKEY> placeholder(EVP_EC_gen("P-256"));
  if (placeholder == nullptr || X509_sign(certificate, placeholder.get(), EVP_sha256()) <= 0) {
    return openssl_failed();
  }
  unsigned char* encoded = nullptr;
  const int length = i2d_re_X509_tbs(certificate, &encoded);
  const Bytes signature = TRY(key.sign(TRY(x509::take_der(length, encoded))));
  const ASN1_BIT_STRING* place = nullptr;
  X509_get0_signature(&place, nullptr, certificate);
  if (ASN1_STRING_set(const_cast<ASN1_BIT_STRING*>(place), signature.data(),
                      openssl_length(signature)) != 1) {
    return openssl_failed();
  }
  const Owned<EVP_PKEY> issuer = x509::decode_key(TRY(key.public_info()));
  if (issuer != nullptr && X509_verify(certificate, issuer.get()) == 1) return {};
  return Error{Errc::kIo, 0, "the issuer's key does not sign as it should"};
}

Result<std::int64_t> seconds_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return Error{Errc::kMalformed, 0, "a certificate's time is not in its form"};
  }
  return ::timegm(&parts);
}

std::string text_of(const X509_NAME* name) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return length <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(length));
}

Result<std::optional<HostIdentity>> host_of(const X509* certificate) {
  const Owned<ASN1_OBJECT> type(OBJ_txt2obj(kHostIdentityOidText, 1));
  const int at = X509_get_ext_by_OBJ(certificate, type.get(), -1);
  if (at < 0) return std::optional<HostIdentity>();
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(X509_get_ext(certificate, at));
  const auto bytes = std::as_bytes(
      std::span(ASN1_STRING_get0_data(value), static_cast<std::size_t>(ASN1_STRING_length(value))));
  return std::optional(TRY(parse_host_identity(bytes)));
}

Error no_certificate() {
  return Error{Errc::kMalformed, 0, "not a certificate"};
}

}  // namespace

Validity valid_for_days(std::int64_t now, unsigned days) {
  return {.not_before = now - kClockSkewSeconds,
          .not_after = now + std::int64_t{days} * kDaySeconds};
}

Result<Bytes> issue_certificate(const CertificateForm& form, std::span<const std::byte> issuer,
                                IssuerKey& key) {
  const x509::ErrorQueueCleaner cleaner;
  if (!is_subject(form.subject)) {
    return Error{Errc::kInvalidArgument, 0,
                 "a name in a certificate has 1 to 64 printable ASCII characters"};
  }
  const Owned<X509> certificate(X509_new());
  const Owned<X509> parent = issuer.empty() ? nullptr : x509::decode(issuer);
  if (certificate == nullptr) return openssl_failed();
  if (!issuer.empty() && parent == nullptr) return no_certificate();
  X509* const by = parent == nullptr ? certificate.get() : parent.get();
  if (!fill(certificate.get(), by, form)) return openssl_failed();
  TRY(sign(certificate.get(), key));
  return x509::encode(certificate.get());
}

Result<CertificateFacts> read_certificate(std::span<const std::byte> der) {
  const x509::ErrorQueueCleaner cleaner;
  const Owned<X509> certificate = x509::decode(der);
  if (certificate == nullptr) return no_certificate();
  CertificateFacts facts;
  facts.subject = text_of(X509_get_subject_name(certificate.get()));
  facts.issuer = text_of(X509_get_issuer_name(certificate.get()));
  unsigned char* encoded = nullptr;
  const int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &encoded);
  facts.public_info = TRY(x509::take_der(length, encoded));
  facts.host = TRY(host_of(certificate.get()));
  facts.validity = {.not_before = TRY(seconds_of(X509_get0_notBefore(certificate.get()))),
                    .not_after = TRY(seconds_of(X509_get0_notAfter(certificate.get())))};
  facts.is_ca = X509_check_ca(certificate.get()) == 1;
  return facts;
}

bool is_issued_by(std::span<const std::byte> certificate, std::span<const std::byte> issuer) {
  const x509::ErrorQueueCleaner cleaner;
  const Owned<X509> child = x509::decode(certificate);
  const Owned<X509> parent = x509::decode(issuer);
  return child != nullptr && parent != nullptr &&
         X509_check_issued(parent.get(), child.get()) == X509_V_OK &&
         X509_verify(child.get(), X509_get0_pubkey(parent.get())) == 1;
}

}  // namespace bulkhead::hostca
