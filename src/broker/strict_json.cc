// SPDX-License-Identifier: Apache-2.0
#include "broker/strict_json.h"

#include <algorithm>

namespace bulkhead::broker {

Result<Json> parse_json(std::string_view text, std::size_t max_bytes) {
  constexpr int kMaxDepth = 16;
  try {
    return attest_json::parse_object(text, {.bytes = max_bytes, .depth = kMaxDepth});
  } catch (const attest_json::Refused&) {
    return Error{Errc::kMalformed, 0, "no JSON object, or too long or deep, or with a key twice"};
  }
}

const Json* member(const Json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

const std::string* string_member(const Json& object, std::string_view name) {
  const Json* value = member(object, name);
  return value == nullptr ? nullptr : value->get_ptr<const std::string*>();
}

bool has_only(const Json& object, std::span<const std::string_view> names) {
  if (!object.is_object()) return false;
  const auto is_known = [&](const auto& item) {
    return std::ranges::find(names, item.key()) != names.end();
  };
  const auto items = object.items();
  return std::all_of(items.begin(), items.end(), is_known);
}

}  // namespace bulkhead::broker
