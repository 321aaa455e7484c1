// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "attest/plain_certificate.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// What a chain says that ends at a root of ours. Whether all of it is valid now is to be asked each
// time.
struct ChainFacts {
  std::vector<Validity> validity;  // of each certificate, and then of the root
  Bytes key_info;                  // SubjectPublicKeyInfo of the attestation key
  HostIdentity host;

  bool operator==(const ChainFacts&) const = default;
};

// The short way from a chain to a root: for chains and roots that are PlainCertificates, and that
// leave no choice between two ways. It refuses nothing: what it does not accept, TrustStore's long
// way through OpenSSL judges, which accepts whatever is accepted here.
class PlainRoots {
 public:
  // In DER. Once there is a root that is not plain, nothing is accepted: OpenSSL might prefer it.
  void add(Bytes der);

  // The chain's key must be known to be a key: it is not looked into.
  std::optional<ChainFacts> facts_of(std::span<const Bytes> chain) const;

 private:
  struct Root {
    Bytes der;  // `certificate` has parts of it, which moving it leaves where they are
    PlainCertificate certificate;
    PublicKey key;
  };
  class Path;

  std::vector<Root> roots_;
  bool all_plain_ = true;
};

}  // namespace bulkhead
