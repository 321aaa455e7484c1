// SPDX-License-Identifier: Apache-2.0
#include "broker/strict_json.h"

#include <algorithm>
#include <set>
#include <vector>

namespace bulkhead::broker {
namespace {

constexpr std::size_t kMaxDepth = 16;

// What nlohmann's parser lets pass: keys that come twice, and any depth.
class Rules {
 public:
  bool good() const { return good_; }

  bool on_event(Json::parse_event_t event, const Json& value) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        keys_.emplace_back();
        good_ = good_ && keys_.size() <= kMaxDepth;
        break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        if (!keys_.empty()) keys_.pop_back();
        break;
      case Json::parse_event_t::key:
        good_ = good_ && keys_.back().insert(value.get_ref<const std::string&>()).second;
        break;
      case Json::parse_event_t::value:
        break;
    }
    return good_;
  }

 private:
  std::vector<std::set<std::string>> keys_;
  bool good_ = true;
};

}  // namespace

Result<Json> parse_json(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) return Error{Errc::kExhausted, 0, "the JSON text is too long"};
  Rules rules;
  const auto callback = [&rules](int /*depth*/, Json::parse_event_t event, Json& value) {
    return rules.on_event(event, value);
  };
  Json parsed = Json::parse(text, callback, false);
  if (!rules.good()) {
    return Error{Errc::kMalformed, 0, "the JSON text is too deep, or has a key twice"};
  }
  if (parsed.is_discarded()) return Error{Errc::kMalformed, 0, "not a JSON text"};
  return parsed;
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
