// SPDX-License-Identifier: Apache-2.0
#include "attest/toml/rule_reader.h"

#include <algorithm>

#include "attest/toml/values.h"

namespace bulkhead::policy_toml {
namespace {

constexpr std::int64_t kMaxAgeSeconds = 7 * 24 * 3600;

}  // namespace

std::span<const RuleReader::Key> RuleReader::keys() {
  static constexpr Key kKeys[] = {
      {"algorithms", &RuleReader::read_algorithms},
      {"allow-debug", &RuleReader::read_debug},
      {"allow-file-counter", &RuleReader::read_file_counter},
      {"hosts", &RuleReader::read_hosts},
      {"isolation", &RuleReader::read_isolation},
      {"max-quote-age-s", &RuleReader::read_age},
      {"minimum-version", &RuleReader::read_versions},
      {"pcr", &RuleReader::read_pcrs},
      {"references", &RuleReader::read_references},
  };
  return kKeys;
}

bool RuleReader::read(Rules& rules, const toml::key& key, const toml::node& value) const {
  const auto found = std::ranges::find(keys(), key.str(), &Key::name);
  if (found == keys().end()) return false;
  (this->*found->read)(rules, key, value);
  return true;
}

std::string RuleReader::known_keys() {
  std::string text;
  for (const Key& key : keys()) text += (text.empty() ? "" : ", ") + std::string(key.name);
  return text;
}

void RuleReader::read_algorithms(Rules& rules, const toml::key& key,
                                 const toml::node& value) const {
  rules.algorithms.clear();
  for (const auto& [text, where] : strings_of(key.str(), value)) {
    const auto all = quote_algorithms();
    const auto found = std::ranges::find_if(
        all, [&name = text](QuoteAlgorithm algorithm) { return to_string(algorithm) == name; });
    if (found == all.end()) {
      fail(where, in_quotes(text) +
                      " is not an algorithm: rsassa, rsapss or ecdsa, a hyphen, and "
                      "sha256 or sha384");
    }
    rules.algorithms.push_back(*found);
  }
}

void RuleReader::read_debug(Rules& rules, const toml::key& key, const toml::node& value) const {
  rules.allow_debug = flag_of(key.str(), value);
}

void RuleReader::read_file_counter(Rules& rules, const toml::key& key,
                                   const toml::node& value) const {
  rules.allow_file_counter = flag_of(key.str(), value);
}

void RuleReader::read_hosts(Rules& rules, const toml::key& key, const toml::node& value) const {
  rules.hosts.clear();
  if (const auto* text = value.as_string(); text != nullptr && text->get() == "any") return;
  for (const auto& [text, where] : strings_of(key.str(), value)) {
    Sha256Digest fingerprint;
    std::ranges::copy(hex_of(text, fingerprint.size(), where), fingerprint.begin());
    rules.hosts.push_back(fingerprint);
  }
}

void RuleReader::read_isolation(Rules& rules, const toml::key& key, const toml::node& value) const {
  const std::string text = string_of(key.str(), value);
  const auto level = isolation_named(text);
  if (!level || *level == Isolation::kNone) {
    fail(value.source(), in_quotes(text) +
                             " is not an isolation level: memfd, hugetlb, carved, gmem, "
                             "snp or tdx");
  }
  rules.isolation = *level;
}

void RuleReader::read_age(Rules& rules, const toml::key& key, const toml::node& value) const {
  const auto* number = value.as_integer();
  if (number == nullptr || number->get() < 1 || number->get() > kMaxAgeSeconds) {
    fail(value.source(), std::string(key.str()) + " must be a number of seconds from 1 to " +
                             std::to_string(kMaxAgeSeconds));
  }
  rules.max_quote_age_s = static_cast<std::uint64_t>(number->get());
}

void RuleReader::read_versions(Rules& rules, const toml::key& key, const toml::node& value) const {
  rules.minimum_versions = {};
  for (const auto& [name, item] : table_of(key, value)) {
    const auto component = std::ranges::find_if(
        kComponents, [&](Component known) { return name.str() == to_string(known); });
    if (component == kComponents.end()) {
      fail(name.source(),
           "unknown component " + in_quotes(name.str()) + ": monitor, vtpm or image");
    }
    const std::string text = string_of(name.str(), item);
    const auto version = parse_version(text);
    if (!version) fail(item.source(), in_quotes(text) + " is not a version like \"1.2.3\"");
    rules.minimum_versions[*component] = version;
  }
}

void RuleReader::read_pcrs(Rules& rules, const toml::key& key, const toml::node& value) const {
  rules.pcrs.clear();
  for_each_pcr(table_of(key, value), key.str(), [&](PcrId pcr, const toml::node& item) {
    for (const auto& [text, where] : strings_of("a PCR's value", item)) {
      rules.pcrs[pcr].push_back(hex_of(text, tpm_digest_bytes(pcr.bank), where));
    }
  });
}

void RuleReader::read_references(Rules& rules, const toml::key& key,
                                 const toml::node& value) const {
  rules.references.clear();
  for (const auto& [text, where] : strings_of(key.str(), value)) {
    if (references_.find(text) == references_.end()) {
      fail(where, "there is no [reference." + text + "] in this file");
    }
    rules.references.push_back(text);
  }
}

}  // namespace bulkhead::policy_toml
