// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "crypto/digest.h"
#include "measure/tpm_wire.h"

namespace bulkhead {

// Which machine a partition CA belongs to, and who vouches for that: docs/formats/certificates.md.
struct HostIdentity {
  enum class Kind : std::uint8_t {
    kTpm = 0,       // by whoever issued the partition CA's certificate: it has seen the host's TPM
    kSoftware = 1,  // by nothing but the partition CA's own key, whose digest this is
  };

  Kind kind = Kind::kSoftware;
  Sha256Digest fingerprint{};

  bool operator==(const HostIdentity&) const = default;
};

std::string to_string(const HostIdentity& identity);  // "TPM 2f1c..." or "software key 2f1c..."

// Content of the OBJECT IDENTIFIER of the extension hostIdentity.
inline constexpr std::array<unsigned char, 21> kHostIdentityOid = {
    0x69, 0x82, 0xa9, 0xb0, 0xda, 0xb7, 0x9d, 0xa2, 0xca, 0x88, 0xbd,
    0xba, 0xfe, 0xc9, 0x86, 0xba, 0x9f, 0x84, 0xeb, 0x02, 0x01};

inline constexpr const char* kHostIdentityOidText =
    "2.25.197643255959663459791078496310340433282.1";

// The extension's value in DER; kMalformed for any other bytes.
Bytes serialize(const HostIdentity& identity);
Result<HostIdentity> parse_host_identity(std::span<const std::byte> der);

}  // namespace bulkhead
