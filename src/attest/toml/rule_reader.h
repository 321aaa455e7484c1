// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "attest/policy.h"
#include "base/toml.h"

namespace bulkhead::policy_toml {

// The keys that may stand at the top, and in the section of a secret.
class RuleReader {
 public:
  explicit RuleReader(const References& references) : references_(references) {}

  // Whether it is a key of rules.
  bool read(Rules& rules, const toml::key& key, const toml::node& value) const;
  static std::string known_keys();

 private:
  struct Key {
    std::string_view name;
    void (RuleReader::*read)(Rules&, const toml::key&, const toml::node&) const;
  };
  static std::span<const Key> keys();

  void read_algorithms(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_debug(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_file_counter(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_hosts(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_isolation(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_age(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_versions(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_pcrs(Rules& rules, const toml::key& key, const toml::node& value) const;
  void read_references(Rules& rules, const toml::key& key, const toml::node& value) const;

  const References& references_;
};

}  // namespace bulkhead::policy_toml
