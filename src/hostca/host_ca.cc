// SPDX-License-Identifier: Apache-2.0
#include "hostca/host_ca.h"

#include <algorithm>

#include "hostca/templates.h"

namespace bulkhead::hostca {
namespace {

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

}  // namespace

Result<std::unique_ptr<HostCa>> HostCa::create(std::unique_ptr<IssuerKey> key,
                                               std::vector<Bytes> certificates) {
  if (certificates.empty()) return refused("the partition CA has no certificate");
  const CertificateFacts facts = TRY(read_certificate(certificates.front()));
  if (facts.public_info != TRY(key->public_info())) {
    return refused("the partition CA's certificate is of another key: enrol the host again");
  }
  if (!facts.is_ca || !facts.host) return refused("that is no certificate of a partition CA");
  return std::unique_ptr<HostCa>(new HostCa(std::move(key), std::move(certificates), *facts.host));
}

Result<Bytes> HostCa::certify(CertificateRole role, const Bytes& public_area,
                              const Validity& validity) {
  const bool attests = role == CertificateRole::kAttestationKey;
  const TpmPublic object = TRY(parse_tpmt_public(public_area));
  if (!is_of(object, attests ? attestation_key_template() : ecc_endorsement_template())) {
    return refused("a key is not of the template that a partition's TPM makes it from");
  }
  const PublicKey key = TRY(public_key(object));
  return issue_certificate({.role = role,
                            .subject = attests ? "Bulkhead partition attestation key"
                                               : "Bulkhead partition endorsement key",
                            .public_info = TRY(key.info()),
                            .host = std::nullopt,
                            .validity = validity},
                           certificates_.front(), *key_);
}

Result<PartitionCertificates> HostCa::certify(const PartitionKeys& keys, std::int64_t now) {
  const CertificateFacts own = TRY(read_certificate(certificates_.front()));
  Validity validity = valid_for_days(now, kDays);
  if (own.validity.not_after < now) {
    return refused("the partition CA's certificate has expired: enrol the host again");
  }
  validity.not_before = std::max(validity.not_before, own.validity.not_before);
  validity.not_after = std::min(validity.not_after, own.validity.not_after);
  PartitionCertificates made;
  made.endorsement_key =
      TRY(certify(CertificateRole::kEndorsementKey, keys.endorsement_key, validity));
  made.attestation_key =
      TRY(certify(CertificateRole::kAttestationKey, keys.attestation_key, validity));
  for (const Bytes& certificate : certificates_) {
    made.chain.insert(made.chain.end(), certificate.begin(), certificate.end());
  }
  return made;
}

Result<Bytes> self_certify(IssuerKey& key, const std::string& host_name, const Validity& validity) {
  const Bytes info = TRY(key.public_info());
  return issue_certificate(
      {.role = CertificateRole::kPartitionCa,
       .subject = host_name,
       .public_info = info,
       .host = HostIdentity{HostIdentity::Kind::kSoftware, TRY(Sha256::of(info))},
       .validity = validity},
      {}, key);
}

}  // namespace bulkhead::hostca
