// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <span>

#include "attest/host_identity.h"
#include "base/utc_time.h"

struct x509_st;  // OpenSSL's X509

namespace bulkhead {

inline constexpr std::size_t kMaxCertificateBytes = 8 * 1024;

// The value in DER of an extendedKeyUsage of tcg-kp-AIKCertificate and nothing else.
inline constexpr std::array<unsigned char, 9> kAttestationKeyUsage = {0x30, 0x07, 0x06, 0x05, 0x67,
                                                                      0x81, 0x05, 0x08, 0x03};

// What a certificate is in the chain of docs/formats/certificates.md.
enum class CertificateRole : std::uint8_t { kAttestationKey, kPartitionCa, kAuthority };

inline constexpr std::size_t kMinChain = 2;  // the key's own certificate, and its partition CA's
inline constexpr std::size_t kMaxChain = 5;

// Of a chain's certificates, from the attestation key's up.
constexpr CertificateRole role_at(std::size_t place) {
  if (place == 0) return CertificateRole::kAttestationKey;
  return place == 1 ? CertificateRole::kPartitionCa : CertificateRole::kAuthority;
}

// Both ends belong to it.
struct Validity {
  UtcTime not_before;
  UtcTime not_after;

  bool contains(UtcTime time) const { return not_before <= time && time <= not_after; }
  bool operator==(const Validity&) const = default;
};

// An X.509 certificate that was read whole, and follows what docs/formats/certificates.md demands
// of every one. Whether somebody trustworthy signed it is for TrustStore to say.
class Certificate {
 public:
  // kMalformed, or kUnsupported for a key or signature of another kind.
  static Result<Certificate> parse(std::span<const std::byte> der);

  // What is wrong with it in that role: a literal, or null.
  const char* fault_as(CertificateRole role) const;
  // In DER.
  Bytes encode() const;
  Bytes subject_public_key_info() const;
  // kNotFound without the extension. That of a software key is compared with the certificate's key.
  Result<HostIdentity> host_identity() const;
  const Validity& validity() const { return validity_; }
  // Whether it is issued to its own issuer, by its own key as far as that says.
  bool is_self_issued() const;

  x509_st* get() const { return certificate_.get(); }

 private:
  struct Free {
    void operator()(x509_st* certificate) const;
  };
  using Handle = std::unique_ptr<x509_st, Free>;

  Certificate(Handle certificate, const Validity& validity)
      : certificate_(std::move(certificate)), validity_(validity) {}

  Handle certificate_;
  Validity validity_;
};

}  // namespace bulkhead
