// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attest/toml/policy_file.h"
#include "base/toml.h"
#include "measure/pcr_values.h"

// What may stand in a policy, of TOML's types. Each function gives a value, or throws Refused with
// the line that is wrong.

namespace bulkhead::policy_toml {

// Thrown and caught in this folder only.
struct Refused {
  PolicyError error;
};

std::string in_quotes(std::string_view text);

[[noreturn]] void fail(const toml::source_region& where, std::string message);

const toml::table& table_of(const toml::key& key, const toml::node& value);
bool flag_of(std::string_view name, const toml::node& value);
std::string string_of(std::string_view name, const toml::node& value);

// A string and its place.
using Text = std::pair<std::string, toml::source_region>;
// A string, or an array of at least one.
std::vector<Text> strings_of(std::string_view name, const toml::node& value);

Bytes hex_of(const std::string& digits, std::size_t size_bytes, const toml::source_region& where);

// A name that can stand in messages, and in a path.
bool is_name(std::string_view text);
// "repository/type/tag", as key brokers name resources.
bool is_secret_name(std::string_view text);

TpmAlg bank_of(const toml::key& key);
PcrId pcr_of(TpmAlg bank, const toml::key& key);

// Calls visit(pcr, value) for [sha256] 0 = ..., of which there must be one.
template <class Visit>
void for_each_pcr(const toml::table& banks, std::string_view name, Visit visit) {
  bool any = false;
  for (const auto& [bank_key, bank_value] : banks) {
    const TpmAlg bank = bank_of(bank_key);
    for (const auto& [key, value] : table_of(bank_key, bank_value)) {
      visit(pcr_of(bank, key), value);
      any = true;
    }
  }
  if (!any) fail(banks.source(), std::string(name) + " has no PCR values");
}

}  // namespace bulkhead::policy_toml
