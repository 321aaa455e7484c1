// SPDX-License-Identifier: Apache-2.0
#include "attest/json/strict_json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/base64.h"

namespace bulkhead::attest_json {
namespace {

constexpr std::size_t kMaxNameInMessage = 40;

// Follows the parser: what it is about to put into a tree is judged first.
class Watch {
 public:
  explicit Watch(int max_depth) : max_depth_(max_depth) {}

  // `depth` counts the containers that are open around what the event is about.
  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
      if (depth >= max_depth_) throw Refused{"it is nested too deeply"};
      names_.resize(static_cast<std::size_t>(depth) + 1);
      names_.back().clear();
    } else if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!names_.at(static_cast<std::size_t>(depth) - 1).insert(name).second) {
        throw Refused{"the key " + name_shown(name) + " comes twice"};
      }
    }
    return true;
  }

 private:
  int max_depth_;
  std::vector<std::set<std::string>> names_;
};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

bool has(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Json parse_object(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) {
    throw Refused{"it is larger than " + std::to_string(limits.bytes) + " bytes"};
  }
  try {
    Watch watch(limits.depth);
    Json object = Json::parse(text, std::ref(watch));
    if (!object.is_object()) throw Refused{"it is no JSON object"};
    return object;
  } catch (const Json::parse_error& error) {
    throw Refused{"it is not valid JSON, at byte " + std::to_string(error.byte)};
  } catch (const Json::out_of_range&) {
    throw Refused{"it has a number beyond all bounds"};
  }
}

std::string name_shown(std::string_view name) {
  const bool plain =
      !name.empty() && name.size() <= kMaxNameInMessage && std::ranges::all_of(name, is_plain);
  return plain ? "'" + std::string(name) + "'" : "(unprintable)";
}

void check_keys(const Json& object, std::string_view what,
                std::initializer_list<std::string_view> needed,
                std::initializer_list<std::string_view> optional) {
  for (const auto& item : object.items()) {
    if (has(needed, item.key()) || has(optional, item.key())) continue;
    throw Refused{std::string(what) + " has the unknown key " + name_shown(item.key())};
  }
  for (std::string_view name : needed) {
    if (!object.contains(name)) throw Refused{std::string(what) + " lacks " + name_shown(name)};
  }
}

const Json& object_in(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_object()) throw Refused{name_shown(key) + " is no object"};
  return value;
}

const std::string& string_in(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_string()) throw Refused{name_shown(key) + " is no string"};
  return value.get_ref<const std::string&>();
}

Bytes bytes_of(const Json& value, std::string_view name, ByteLimits sizes) {
  if (!value.is_string()) throw Refused{name_shown(name) + " is no string"};
  auto bytes = decode_base64(Base64::kUrl, value.get_ref<const std::string&>());
  if (!bytes) throw Refused{name_shown(name) + " is " + bytes.error().what};
  if (bytes->size() < sizes.least || bytes->size() > sizes.most) {
    throw Refused{name_shown(name) + " has " + std::to_string(bytes->size()) + " bytes, not " +
                  std::to_string(sizes.least) + " to " + std::to_string(sizes.most)};
  }
  return std::move(*bytes);
}

}  // namespace bulkhead::attest_json
