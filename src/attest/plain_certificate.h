// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "attest/plain_extensions.h"
#include "crypto/public_key.h"

namespace bulkhead {

// A certificate in the form in which nearly all come: signed with ECDSA, names of printable ASCII,
// and the extensions of docs/formats/certificates.md without any others. To read that takes a
// hundredth of the time that OpenSSL takes. It is Certificate that refuses, and says why: whatever
// is read here it accepts, and sees the same in it.
//
// All parts are parts of the bytes that it was read from, which must outlive it.
struct PlainCertificate {
  std::span<const std::byte> whole;
  std::span<const std::byte> signed_part;  // tbsCertificate: what the signature is over
  std::span<const std::byte> issuer;       // Name, as all below with its tag
  std::span<const std::byte> subject;
  std::span<const std::byte> key_info;  // SubjectPublicKeyInfo: not looked into
  Validity validity;
  HashAlgorithm hash = HashAlgorithm::kSha256;  // of the signature
  std::span<const std::byte> r;
  std::span<const std::byte> s;
  PlainExtensions extensions;

  static Result<PlainCertificate> parse(std::span<const std::byte> der);

  // kUnsupported for a key that is not ECDSA's; kMalformed for one that is none.
  Result<PublicKey> public_key() const;
  // Whether the owner of that key, which is one of ECDSA, signed this.
  bool is_signed_by(const PublicKey& key) const;
};

}  // namespace bulkhead
