// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>

#include "attest/certificate.h"
#include "attest/der_reader.h"

namespace bulkhead {

// A part of a certificate's bytes.
using Part = std::span<const std::byte>;
// Whether it is this element, of which there is one form only.
inline bool equals(Part part, std::span<const unsigned char> wanted) {
  return std::ranges::equal(part, std::as_bytes(wanted));
}

// The extensions of a PlainCertificate: basicConstraints, keyUsage and subjectKeyIdentifier, and
// at will an extendedKeyUsage for attestation keys, an authorityKeyIdentifier, and a hostIdentity.
struct PlainExtensions {
  bool is_ca = false;
  std::optional<unsigned> path_length;
  unsigned key_usage = 0;                       // the BIT STRING's one byte
  bool is_for_attestation_keys = false;         // by extendedKeyUsage
  std::span<const std::byte> host_identity;     // the extension's value; empty without one
  std::span<const std::byte> subject_key_id;    // never empty
  std::span<const std::byte> authority_key_id;  // empty without one

  static Result<PlainExtensions> parse(DerReader extensions);

  // Whether Certificate::fault_as() finds nothing.
  bool are_good_as(CertificateRole role) const;
};

inline Error not_plain() {
  return Error{Errc::kUnsupported, 0, "not a certificate of the plain form"};
}

}  // namespace bulkhead
