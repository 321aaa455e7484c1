// SPDX-License-Identifier: Apache-2.0
#include "hostca/enrolment.h"

#include <algorithm>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "hostca/fields.h"
#include "hostca/templates.h"

namespace bulkhead::hostca {
namespace {

constexpr std::string_view kRequestMark = "bulkhead_host_request";
constexpr std::string_view kGrantMark = "bulkhead_host_grant";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kSealPurpose = "bulkhead/host-grant/v1";
constexpr std::size_t kMaxPublic = 1024;
constexpr std::size_t kMaxCertificates = 8;
constexpr std::size_t kMaxCertificate = 8192;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kTagBytes = std::tuple_size_v<AeadTag>;

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

std::string numbered(std::string_view key, std::size_t number) {
  return std::string(key).append(".").append(std::to_string(number));
}

Result<void> expect_mark(FieldReader& reader, std::string_view mark) {
  if (TRY(reader.text(mark)) == kVersion) return {};
  return Error{Errc::kUnsupported, 0, "the file is of another version of Bulkhead"};
}

// Used for one message: the secret is random, and so is the key.
Result<Aead> sealing_cipher(std::span<const std::byte> secret) {
  const SecretBytes key = TRY(
      hkdf_sha256({.key = secret, .info = std::as_bytes(std::span(kSealPurpose))}, kAeadKeyBytes));
  return Aead::create(key);
}

Result<Bytes> seal(std::span<const std::byte> secret, std::string_view text) {
  Aead cipher = TRY(sealing_cipher(secret));
  AeadCounter uses(1);
  Bytes sealed(text.size() + kTagBytes);
  const auto plaintext = std::as_bytes(std::span(text));
  const AeadTag tag = TRY(cipher.seal(TRY(uses.take()), {AeadNonce{}, {}, plaintext},
                                      std::span(sealed).first(text.size())));
  std::ranges::copy(tag, sealed.end() - static_cast<std::ptrdiff_t>(kTagBytes));
  return sealed;
}

// A key that is not of its template could be one that exists elsewhere, or be used by anybody.
Result<void> check_keys(const HostRequest& request) {
  if (!is_of(request.endorsement.key, rsa_endorsement_template()) &&
      !is_of(request.endorsement.key, ecc_endorsement_template())) {
    return refused("the endorsement key is not of the templates L-1 and L-2");
  }
  if (!is_of(request.ca_key, partition_ca_template(Bytes(32)))) {
    return refused("the partition CA's key is not of the documented template");
  }
  return {};
}

}  // namespace

std::string serialize(const HostRequest& request) {
  FieldWriter writer;
  writer.text(kRequestMark, kVersion).text("name", request.name);
  writer.bytes("endorsement_key", serialize(request.endorsement.key));
  const auto& certificates = request.endorsement.certificates;
  writer.text("endorsement_certificates", std::to_string(certificates.size()));
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    writer.bytes(numbered("endorsement_certificate", i), certificates[i]);
  }
  return writer.bytes("partition_ca_key", serialize(request.ca_key)).take();
}

Result<HostRequest> parse_host_request(std::string_view text) {
  HostRequest request;
  FieldReader reader(text);
  TRY(expect_mark(reader, kRequestMark));
  request.name = TRY(reader.text("name"));
  if (!is_host_name(request.name)) return Error{Errc::kMalformed, 0, "not a host's name"};
  request.endorsement.key =
      TRY(parse_tpmt_public(TRY(reader.bytes("endorsement_key", kMaxPublic))));
  const std::size_t count = TRY(reader.count("endorsement_certificates", kMaxCertificates));
  for (std::size_t i = 0; i < count; ++i) {
    request.endorsement.certificates.push_back(
        TRY(reader.bytes(numbered("endorsement_certificate", i), kMaxCertificate)));
  }
  request.ca_key = TRY(parse_tpmt_public(TRY(reader.bytes("partition_ca_key", kMaxPublic))));
  TRY(reader.end());
  return request;
}

std::string serialize(const HostGrant& grant) {
  FieldWriter writer;
  writer.text(kGrantMark, kVersion).bytes("partition_ca_name", grant.ca_name);
  writer.bytes("credential", grant.credential.id_object);
  writer.bytes("secret", grant.credential.encrypted_secret);
  return writer.bytes("certificates", grant.sealed).take();
}

Result<HostGrant> parse_host_grant(std::string_view text) {
  HostGrant grant;
  FieldReader reader(text);
  TRY(expect_mark(reader, kGrantMark));
  grant.ca_name = TRY(reader.bytes("partition_ca_name", kMaxPublic));
  grant.credential.id_object = TRY(reader.bytes("credential", kMaxPublic));
  grant.credential.encrypted_secret = TRY(reader.bytes("secret", kMaxPublic));
  grant.sealed = TRY(reader.bytes("certificates", kMaxEnrolmentBytes));
  TRY(reader.end());
  return grant;
}

Result<HostGrant> grant_certificate(const HostRequest& request, const Authority& authority,
                                    const GrantTerms& terms) {
  TRY(check_keys(request));
  if (authority.certificates.empty()) return refused("the authority has no certificate");
  const Sha256Digest fingerprint = TRY(endorsement_fingerprint(request.endorsement.key));
  const PublicKey ca_key = TRY(public_key(request.ca_key));
  std::vector<Bytes> chain{
      TRY(issue_certificate({.role = CertificateRole::kPartitionCa,
                             .subject = terms.name,
                             .public_info = TRY(ca_key.info()),
                             .host = HostIdentity{HostIdentity::Kind::kTpm, fingerprint},
                             .validity = terms.validity},
                            authority.certificates.front(), authority.key))};
  chain.insert(chain.end(), authority.certificates.begin(), authority.certificates.end());
  const SecretBytes secret = TRY(SecretBytes::random(kSecretBytes));
  HostGrant grant{.ca_name = TRY(tpm_name(request.ca_key)), .credential = {}, .sealed = {}};
  grant.credential = TRY(make_credential(request.endorsement.key, grant.ca_name, secret.bytes()));
  grant.sealed = TRY(seal(secret.bytes(), to_pem(chain)));
  return grant;
}

Result<std::vector<Bytes>> open_grant(const HostGrant& grant, std::span<const std::byte> secret) {
  if (secret.size() != kSecretBytes || grant.sealed.size() < kTagBytes) {
    return Error{Errc::kMalformed, 0, "the grant is damaged"};
  }
  Aead cipher = TRY(sealing_cipher(secret));
  const auto text = std::span(grant.sealed).first(grant.sealed.size() - kTagBytes);
  AeadTag tag;
  std::ranges::copy(std::span(grant.sealed).last(kTagBytes), tag.begin());
  std::string pem(text.size(), '\0');
  TRY(cipher.open({AeadNonce{}, {}, text}, tag, std::as_writable_bytes(std::span(pem))));
  return read_pem(pem);
}

}  // namespace bulkhead::hostca
