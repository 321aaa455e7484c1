// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "attest/evidence.h"

namespace bulkhead {

// Evidence in a JSON text without escapes in its strings, as everybody writes it who has only
// base64url and digits to write. It is parse_evidence() that refuses, and says why: whatever is
// read here is the same there, at ten times the cost.
Result<Evidence> parse_plain_evidence(std::string_view text);

}  // namespace bulkhead
