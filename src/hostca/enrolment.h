// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crypto/signing_key.h"
#include "hostca/certificate.h"
#include "hostca/endorsement.h"
#include "hostca/make_credential.h"

// How a host's partition CA gets its certificate: docs/formats/enrolment.md. Two files, one there
// and one back; neither side needs to reach the other.

namespace bulkhead::hostca {

inline constexpr std::size_t kMaxEnrolmentBytes = 256 * 1024;

// From the host to whoever enrols hosts.
struct HostRequest {
  std::string name;  // what the host calls itself
  Endorsement endorsement;
  TpmPublic ca_key;
};

std::string serialize(const HostRequest& request);
Result<HostRequest> parse_host_request(std::string_view text);

// And back: the certificates, which only a TPM that has both keys of the request can open.
struct HostGrant {
  Bytes ca_name;  // the TPM's name of the key that the certificate is of
  TpmCredential credential;
  Bytes sealed;
};

std::string serialize(const HostGrant& grant);
Result<HostGrant> parse_host_grant(std::string_view text);

// The enrolling side.
struct Authority {
  IssuerKey& key;
  std::vector<Bytes> certificates;  // its own, then up to a root
};

struct GrantTerms {
  std::string name;  // of the host, in its certificate
  Validity validity;
};

// Makes the certificate. Nothing is checked of the endorsement: check_endorsement() comes before.
// kPermission for keys that a host's are not.
Result<HostGrant> grant_certificate(const HostRequest& request, const Authority& authority,
                                    const GrantTerms& terms);

// The host's side: the certificates, from the partition CA's up, once the TPM gave back the secret.
Result<std::vector<Bytes>> open_grant(const HostGrant& grant, std::span<const std::byte> secret);

// A key of the software for IssuerKey.
class SoftwareIssuer final : public IssuerKey {
 public:
  explicit SoftwareIssuer(SigningKey key) : key_(std::move(key)) {}

  Result<Bytes> public_info() override { return key_.public_info(); }
  Result<Bytes> sign(std::span<const std::byte> message) override { return key_.sign(message); }

 private:
  SigningKey key_;
};

}  // namespace bulkhead::hostca
