// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <string>

#include "attest/host_identity.h"
#include "attest/key_info.h"
#include "base/utc_time.h"
#include "crypto/openssl_bytes.h"

namespace bulkhead {

// Everything about a certificate that a test may want otherwise. Extensions are in the words of
// x509v3_config(5); an empty one is left out.
struct CertificateForm {
  std::string subject;
  std::string basic_constraints = "critical,CA:TRUE";
  std::string key_usage = "critical,keyCertSign";
  std::string extended_key_usage = {};
  std::optional<Bytes> host_identity = {};
  int host_identity_count = 1;
  bool host_identity_critical = false;
  std::optional<long> serial = {};  // none: another one each time
  UtcTime not_before = parse_utc_time("2026-01-01T00:00:00Z").value();
  UtcTime not_after = parse_utc_time("2027-01-01T00:00:00Z").value();
  long version = 2;
  const EVP_MD* hash = EVP_sha256();
};

// A key pair, and a certificate for it.
class AuthorityForTest {
 public:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  using Key = std::unique_ptr<EVP_PKEY, Free>;
  using Handle = std::unique_ptr<X509, Free>;

  // By itself.
  explicit AuthorityForTest(const CertificateForm& form) : key_(EVP_EC_gen("P-256")) {
    certificate_ = issue(form, key_.get(), nullptr);
  }
  // The partition CA of a host without a TPM, which is its own root.
  static AuthorityForTest software_host();
  // By somebody else.
  AuthorityForTest(const CertificateForm& form, const AuthorityForTest& issuer)
      : key_(EVP_EC_gen("P-256")), certificate_(issuer.issue_for(form, key_.get())) {}

  Handle issue_for(const CertificateForm& form, EVP_PKEY* subject_key) const {
    return issue(form, subject_key, certificate_.get());
  }
  Bytes issue_for(const CertificateForm& form, const TpmPublic& object) const {
    const Bytes info = subject_public_key_info(object);
    const unsigned char* position = openssl_bytes(std::span<const std::byte>(info));
    const Key key(d2i_PUBKEY(nullptr, &position, openssl_length(info)));
    CHECK(key != nullptr);
    return der_of(issue_for(form, key.get()).get());
  }

  Bytes der() const { return der_of(certificate_.get()); }
  std::string pem() const { return pem_of(certificate_.get()); }
  EVP_PKEY* key() const { return key_.get(); }
  // SHA-256 of its SubjectPublicKeyInfo.
  Sha256Digest key_digest() const {
    unsigned char* info = nullptr;
    const int length = i2d_PUBKEY(key_.get(), &info);
    const auto bytes = std::as_bytes(std::span(info, static_cast<std::size_t>(length)));
    const Sha256Digest digest = Sha256::of(bytes).value();
    OPENSSL_free(info);
    return digest;
  }

  static Bytes der_of(X509* certificate) {
    unsigned char* encoded = nullptr;
    const int length = i2d_X509(certificate, &encoded);
    CHECK(length > 0);
    Bytes der = copy_of(std::as_bytes(std::span(encoded, static_cast<std::size_t>(length))));
    OPENSSL_free(encoded);
    return der;
  }
  static std::string pem_of(X509* certificate) {
    BIO* bio = BIO_new(BIO_s_mem());
    CHECK(PEM_write_bio_X509(bio, certificate) == 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    std::string pem(text, static_cast<std::size_t>(size));
    BIO_free(bio);
    return pem;
  }

 private:
  Handle issue(const CertificateForm& form, EVP_PKEY* subject_key, X509* issuer) const {
    Handle made(X509_new());
    X509* certificate = made.get();
    CHECK(X509_set_version(certificate, form.version) == 1);
    static long serial = 1;
    const long number = form.serial.value_or(serial++);
    CHECK(ASN1_INTEGER_set(X509_get_serialNumber(certificate), number) == 1);
    set_name(X509_get_subject_name(certificate), form.subject);
    X509_NAME* issuer_name = X509_get_subject_name(issuer == nullptr ? certificate : issuer);
    CHECK(X509_set_issuer_name(certificate, issuer_name) == 1);
    set_time(X509_getm_notBefore(certificate), form.not_before);
    set_time(X509_getm_notAfter(certificate), form.not_after);
    CHECK(X509_set_pubkey(certificate, subject_key) == 1);
    if (form.version == 2) add_extensions(certificate, issuer, form);
    CHECK(X509_sign(certificate, key_.get(), form.hash) > 0);
    return made;
  }

  static void set_time(ASN1_TIME* place, UtcTime time) {
    CHECK(ASN1_TIME_set(place, time.time_since_epoch().count()) != nullptr);
  }
  static void set_name(X509_NAME* name, const std::string& text) {
    if (text.empty()) return;
    const Bytes bytes = copy_of(std::as_bytes(std::span(text)));
    CHECK(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                     openssl_bytes(std::span<const std::byte>(bytes)),
                                     openssl_length(bytes), -1, 0) == 1);
  }
  static void add_extensions(X509* certificate, X509* issuer, const CertificateForm& form) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer == nullptr ? certificate : issuer, certificate, nullptr,
                   nullptr, 0);
    const auto add = [&](int kind, const std::string& value) {
      if (value.empty()) return;
      X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
      CHECK(made != nullptr && X509_add_ext(certificate, made, -1) == 1);
      X509_EXTENSION_free(made);
    };
    add(NID_basic_constraints, form.basic_constraints);
    add(NID_key_usage, form.key_usage);
    add(NID_ext_key_usage, form.extended_key_usage);
    add(NID_subject_key_identifier, "hash");
    add(NID_authority_key_identifier, "keyid:always");
    for (int i = 0; form.host_identity && i < form.host_identity_count; ++i) {
      add_host_identity(certificate, *form.host_identity, form.host_identity_critical);
    }
  }
  static void add_host_identity(X509* certificate, std::span<const std::byte> value,
                                bool critical) {
    ASN1_OBJECT* object = OBJ_txt2obj("2.25.197643255959663459791078496310340433282.1", 1);
    ASN1_OCTET_STRING* content = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(content, openssl_bytes(value), openssl_length(value));
    X509_EXTENSION* made = X509_EXTENSION_create_by_OBJ(nullptr, object, critical ? 1 : 0, content);
    CHECK(made != nullptr && X509_add_ext(certificate, made, -1) == 1);
    X509_EXTENSION_free(made);
    ASN1_OCTET_STRING_free(content);
    ASN1_OBJECT_free(object);
  }

  Key key_;
  Handle certificate_;
};

inline CertificateForm root_form() {
  return {.subject = "Root of tests", .basic_constraints = "critical,CA:TRUE,pathlen:1"};
}

inline CertificateForm partition_ca_form(const HostIdentity& host) {
  return {.subject = "Partitions of a host",
          .basic_constraints = "critical,CA:TRUE,pathlen:0",
          .host_identity = serialize(host)};
}

inline AuthorityForTest AuthorityForTest::software_host() {
  AuthorityForTest made(partition_ca_form({}));
  const HostIdentity own{.kind = HostIdentity::Kind::kSoftware, .fingerprint = made.key_digest()};
  made.certificate_ = made.issue(partition_ca_form(own), made.key_.get(), nullptr);
  return made;
}

inline CertificateForm attestation_key_form() {
  return {.subject = "Attestation key of a partition",
          .basic_constraints = "critical,CA:FALSE",
          .key_usage = "critical,digitalSignature",
          .extended_key_usage = "2.23.133.8.3"};
}

inline HostIdentity host_with_tpm(unsigned value) {
  HostIdentity host{.kind = HostIdentity::Kind::kTpm};
  host.fingerprint.fill(static_cast<std::byte>(value));
  return host;
}

}  // namespace bulkhead
