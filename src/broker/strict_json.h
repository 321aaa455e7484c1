// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "attest/json/strict_json.h"
#include "base/result.h"

namespace bulkhead::broker {

using attest_json::Json;

// A whole JSON text, an object: no duplicate keys, no more than 16 levels, nothing after it, valid
// UTF-8.
Result<Json> parse_json(std::string_view text, std::size_t max_bytes);

// A member of an object; null if it is not one, or has none of that name.
const Json* member(const Json& object, std::string_view name);
// A member that is a string; null otherwise.
const std::string* string_member(const Json& object, std::string_view name);
// Whether the object has no other members than these.
bool has_only(const Json& object, std::span<const std::string_view> names);

}  // namespace bulkhead::broker
