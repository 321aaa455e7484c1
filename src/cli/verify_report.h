// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "attest/evidence_verifier.h"

namespace bulkhead::cli {

// The verdict, explained line by line, for people.
std::string verdict_text(const EvidenceVerdict& verdict, const EvidenceExpectation& expectation);

}  // namespace bulkhead::cli
