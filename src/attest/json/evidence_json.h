// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "attest/evidence.h"

namespace bulkhead {

// The evidence in a JSON text (docs/formats/evidence.md), or what is wrong with it, which `error`
// says in words of ours. Throws nothing.
std::optional<Evidence> parse_evidence(std::string_view text, std::string& error);
// The same without the short way of plain_evidence.h, for comparison.
std::optional<Evidence> parse_evidence_of_any_form(std::string_view text, std::string& error);

// The same written. What parse_evidence() gave is written as a text that it takes; the parts of
// anything else are the caller's to bound.
std::string write_evidence(const Evidence& evidence);

}  // namespace bulkhead
