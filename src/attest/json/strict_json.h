// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "attest/evidence.h"

// What nlohmann's parser lets pass, and a format of ours does not. Each function gives a value, or
// throws Refused. Messages repeat no foreign bytes but those of a plain name.

namespace bulkhead::attest_json {

using Json = nlohmann::json;

// Thrown to whoever parses; no interface of another folder lets it through.
struct Refused {
  std::string message;
};

struct Limits {
  std::size_t bytes;
  int depth;
};

// An object in UTF-8. No key comes twice in one object, at any depth.
Json parse_object(std::string_view text, const Limits& limits);

// A foreign name as a message may repeat it.
std::string name_shown(std::string_view name);

// That these keys are there, and no others but the optional ones.
void check_keys(const Json& object, std::string_view what,
                std::initializer_list<std::string_view> needed,
                std::initializer_list<std::string_view> optional = {});

const Json& object_in(const Json& object, const char* key);
const std::string& string_in(const Json& object, const char* key);

// Bytes in base64url.
Bytes bytes_of(const Json& value, std::string_view name, ByteLimits sizes);

}  // namespace bulkhead::attest_json
