// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostca/certificate.h"

namespace bulkhead {

// The extension's object identifier, and its value: docs/formats/certificates.md.
inline constexpr const char* kHostIdentityOid = "2.25.197643255959663459791078496310340433282.1";

Bytes encode_host_identity(const HostIdentity& identity);
Result<HostIdentity> parse_host_identity(std::span<const std::byte> der);

}  // namespace bulkhead
