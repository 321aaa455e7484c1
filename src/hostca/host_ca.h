// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hostca/certificate.h"

namespace bulkhead::hostca {

// What a partition's TPM shows of its keys: two TPMT_PUBLIC.
struct PartitionKeys {
  Bytes endorsement_key;
  Bytes attestation_key;
};

// All in DER.
struct PartitionCertificates {
  Bytes endorsement_key;
  Bytes attestation_key;
  Bytes chain;  // from the partition CA's certificate up, one behind the other
};

// A host's partition CA: its key, wherever that is, and the certificates from its own up.
class HostCa {
 public:
  // How long what it issues is valid.
  static constexpr unsigned kDays = 7;

  // kPermission if the first certificate is not of this key, or not of a partition CA.
  static Result<std::unique_ptr<HostCa>> create(std::unique_ptr<IssuerKey> key,
                                                std::vector<Bytes> certificates);

  const HostIdentity& identity() const { return identity_; }
  // Certificates for keys of the documented templates; kPermission for others.
  Result<PartitionCertificates> certify(const PartitionKeys& keys, std::int64_t now);

 private:
  HostCa(std::unique_ptr<IssuerKey> key, std::vector<Bytes> certificates, HostIdentity identity)
      : key_(std::move(key)), certificates_(std::move(certificates)), identity_(identity) {}
  Result<Bytes> certify(CertificateRole role, const Bytes& public_area, const Validity& validity);

  std::unique_ptr<IssuerKey> key_;
  std::vector<Bytes> certificates_;
  HostIdentity identity_;
};

// The certificate that a host without a TPM signs itself.
Result<Bytes> self_certify(IssuerKey& key, const std::string& host_name, const Validity& validity);

}  // namespace bulkhead::hostca
