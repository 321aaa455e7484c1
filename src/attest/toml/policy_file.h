// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "attest/policy.h"

namespace bulkhead {

inline constexpr std::size_t kMaxPolicyBytes = 1024 * 1024;

// What is wrong with a policy, and where.
struct PolicyError {
  std::size_t line = 0;  // from 1; 0: the file as a whole
  std::string message;   // "unknown key 'hots'; known here: ..."
};

// The policy in a TOML text (docs/formats/policy.md), or what is wrong with it. Throws nothing.
std::optional<Policy> parse_policy(std::string_view text, PolicyError& error);

}  // namespace bulkhead
