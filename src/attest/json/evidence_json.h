// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "attest/evidence.h"

namespace bulkhead {

// eat_profile of what this reads and writes: an OID below the arc of
// docs/formats/certificates.md.
inline constexpr std::string_view kEvidenceProfile =
    "urn:oid:2.25.197643255959663459791078496310340433282.2.1";

// The evidence in a JSON text (docs/formats/evidence.md), or what is wrong with it, which `error`
// says in words of ours. Throws nothing.
std::optional<Evidence> parse_evidence(std::string_view text, std::string& error);

// The same written. What parse_evidence() gave is written as a text that it takes; the parts of
// anything else are the caller's to bound.
std::string write_evidence(const Evidence& evidence);

}  // namespace bulkhead
