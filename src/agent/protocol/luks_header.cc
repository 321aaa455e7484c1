// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/luks_header.h"

#include <algorithm>
#include <array>

#include "broker/strict_json.h"

namespace bulkhead::agent {
namespace {

using broker::Json;

constexpr std::size_t kMaxMetadataBytes = 4 * 1024 * 1024;  // LUKS2's own limit
constexpr std::array<std::string_view, 2> kCiphers = {"aes-xts-plain64", "aes-xts-random"};
constexpr std::array<std::string_view, 3> kDerivations = {"pbkdf2", "argon2i", "argon2id"};

bool is_one_of(const std::string* text, std::span<const std::string_view> known) {
  return text != nullptr && std::ranges::find(known, *text) != known.end();
}

const std::string* string_at(const Json& object, std::string_view part, std::string_view name) {
  const Json* inner = broker::member(object, part);
  return inner == nullptr ? nullptr : broker::string_member(*inner, name);
}

bool is_good_keyslot(const Json& keyslot) {
  const std::string* type = broker::string_member(keyslot, "type");
  return type != nullptr && *type == "luks2" &&
         is_one_of(string_at(keyslot, "area", "encryption"), kCiphers) &&
         is_one_of(string_at(keyslot, "kdf", "type"), kDerivations);
}

bool is_good_segment(const Json& segment) {
  const std::string* type = broker::string_member(segment, "type");
  return type != nullptr && *type == "crypt" &&
         is_one_of(broker::string_member(segment, "encryption"), kCiphers);
}

// At least one, and all of them good.
template <class Judge>
bool all_good(const Json& header, std::string_view name, Judge judge) {
  const Json* parts = broker::member(header, name);
  return parts != nullptr && parts->is_object() && !parts->empty() &&
         std::all_of(parts->begin(), parts->end(), judge);
}

}  // namespace

std::string luks_header_faults(std::string_view metadata) {
  const auto header = broker::parse_json(metadata, kMaxMetadataBytes);
  if (!header) return "it has no LUKS2 metadata";
  if (!all_good(*header, "keyslots", is_good_keyslot)) {
    return "a keyslot of it is not encrypted with aes-xts";
  }
  if (!all_good(*header, "segments", is_good_segment)) {
    return "data of it is not encrypted with aes-xts";
  }
  const Json* config = broker::member(*header, "config");
  if (config == nullptr || !config->is_object() ||
      broker::member(*config, "requirements") != nullptr) {
    return "it wants something special, such as a re-encryption that has to be finished";
  }
  return "";
}

}  // namespace bulkhead::agent
