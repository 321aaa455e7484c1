// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "attest/host_identity.h"
#include "crypto/digest.h"
#include "measure/tpm_wire.h"

// The certificates of a host and of its partitions' TPMs: docs/formats/certificates.md. All are in
// DER, and signed with ECDSA on P-256 and SHA-256.

namespace bulkhead::hostca {

enum class CertificateRole : std::uint8_t { kPartitionCa, kAttestationKey, kEndorsementKey };

// Seconds since 1970.
struct Validity {
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;

  bool operator==(const Validity&) const = default;
};

// From some minutes ago, for clocks that differ, for so many days.
Validity valid_for_days(std::int64_t now, unsigned days);

struct CertificateForm {
  CertificateRole role = CertificateRole::kPartitionCa;
  std::string subject;               // its common name: 1 to 64 printable ASCII characters
  Bytes public_info;                 // SubjectPublicKeyInfo of whom it is for
  std::optional<HostIdentity> host;  // of a partition CA
  Validity validity;
};

// Whoever signs: the key stays where it is.
class IssuerKey {
 public:
  virtual ~IssuerKey() = default;
  virtual Result<Bytes> public_info() = 0;
  // ECDSA-Sig-Value over SHA-256 of the message.
  virtual Result<Bytes> sign(std::span<const std::byte> message) = 0;
};

// `issuer` is the certificate of that key; none: the new one is signed by its own.
Result<Bytes> issue_certificate(const CertificateForm& form, std::span<const std::byte> issuer,
                                IssuerKey& key);

// What a certificate says.
struct CertificateFacts {
  std::string subject;  // as RFC 2253 has it
  std::string issuer;
  Bytes public_info;
  std::optional<HostIdentity> host;
  Validity validity;
  bool is_ca = false;
};

// kMalformed for what is no certificate, nothing left over, of at most 8 KiB.
Result<CertificateFacts> read_certificate(std::span<const std::byte> der);

// Whether `issuer` names and signed the certificate.
bool is_issued_by(std::span<const std::byte> certificate, std::span<const std::byte> issuer);

inline constexpr std::size_t kMaxPemCertificates = 64;

std::string to_pem(std::span<const Bytes> certificates);
// One certificate at least. kMalformed if there is anything else than certificates and white space.
Result<std::vector<Bytes>> read_pem(std::string_view text);

}  // namespace bulkhead::hostca
