// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace bulkhead::broker {

inline constexpr std::size_t kMaxNameBytes = 64;

// A tenant: 1 to 64 lower-case letters, digits and '-'. It stands in paths, labels and logs.
bool is_tenant_name(std::string_view text);
// "repository/type/tag", as policies name secrets (docs/formats/policy.md).
bool is_resource_name(std::string_view text);

}  // namespace bulkhead::broker
