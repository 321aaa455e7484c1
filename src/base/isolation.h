// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace bulkhead {

// What keeps a partition's memory from others: the ladder of docs/threat-model.md, lowest first.
enum class Isolation : std::uint8_t { kNone, kMemfd, kHugetlb, kCarved, kGmem, kSnp, kTdx };

const char* to_string(Isolation level);
// The level of that name; "none" is one.
std::optional<Isolation> isolation_named(std::string_view name);

// Whether `level` gives what `wanted` promises. SNP and TDX promise the same, each on its maker's
// processors.
bool at_least(Isolation level, Isolation wanted);

}  // namespace bulkhead
