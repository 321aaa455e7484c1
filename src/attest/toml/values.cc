// SPDX-License-Identifier: Apache-2.0
#include "attest/toml/values.h"

#include <algorithm>
#include <charconv>

namespace bulkhead::policy_toml {
namespace {

constexpr std::size_t kMaxNameBytes = 64;

}  // namespace

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

[[noreturn]] void fail(const toml::source_region& where, std::string message) {
  throw Refused{{where.begin.line, std::move(message)}};
}

const toml::table& table_of(const toml::key& key, const toml::node& value) {
  if (const auto* table = value.as_table()) return *table;
  fail(value.source(),
       std::string(key.str()) + " must be a table, like [" + std::string(key.str()) + "]");
}

bool flag_of(std::string_view name, const toml::node& value) {
  if (const auto* flag = value.as_boolean()) return flag->get();
  fail(value.source(), std::string(name) + " must be true or false");
}

std::string string_of(std::string_view name, const toml::node& value) {
  if (const auto* text = value.as_string()) return text->get();
  fail(value.source(), std::string(name) + " must be a string");
}

std::vector<Text> strings_of(std::string_view name, const toml::node& value) {
  const auto* array = value.as_array();
  if (array == nullptr) return {{string_of(name, value), value.source()}};
  if (array->empty())
    fail(value.source(), std::string(name) + " is empty: it would accept nothing");
  std::vector<Text> all;
  for (const toml::node& item : *array) all.emplace_back(string_of(name, item), item.source());
  return all;
}

Bytes hex_of(const std::string& digits, std::size_t size_bytes, const toml::source_region& where) {
  auto bytes = decode_hex(digits);
  if (!bytes || bytes->size() != size_bytes) {
    fail(where,
         in_quotes(digits) + " is not " + std::to_string(2 * size_bytes) + " hexadecimal digits");
  }
  return std::move(*bytes);
}

bool is_name(std::string_view text) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= kMaxNameBytes && text != "." && text != ".." &&
         std::ranges::all_of(text, is_good);
}

bool is_secret_name(std::string_view text) {
  for (int i = 0; i < 2; ++i) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos || !is_name(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return is_name(text);
}

TpmAlg bank_of(const toml::key& key) {
  for (TpmAlg bank : {TpmAlg::kSha256, TpmAlg::kSha384, TpmAlg::kSha512}) {
    if (key.str() == to_string(bank)) return bank;
  }
  fail(key.source(), in_quotes(key.str()) + " is not a PCR bank: sha256, sha384 or sha512");
}

PcrId pcr_of(TpmAlg bank, const toml::key& key) {
  const std::string_view text = key.str();
  unsigned index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || index >= kPcrCount || std::to_string(index) != text) {
    fail(key.source(), in_quotes(text) + " is not a PCR: 0 to 23");
  }
  return {bank, index};
}

}  // namespace bulkhead::policy_toml
