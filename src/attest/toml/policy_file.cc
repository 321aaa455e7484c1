// SPDX-License-Identifier: Apache-2.0
#include "attest/toml/policy_file.h"

#include <exception>

#include "attest/toml/rule_reader.h"
#include "attest/toml/values.h"
#include "base/toml_text.h"

namespace bulkhead {
namespace policy_toml {
namespace {

constexpr std::int64_t kFormatVersion = 1;

References read_references_of(const toml::table& file) {
  References references;
  const auto found = file.find("reference");
  if (found == file.end()) return references;
  for (const auto& [key, value] : table_of(found->first, found->second)) {
    if (!is_name(key.str())) {
      fail(key.source(),
           in_quotes(key.str()) + " is not a name: letters, digits, '.', '_' and '-'");
    }
    PcrValues& reference = references[std::string(key.str())];
    for_each_pcr(table_of(key, value), key.str(), [&](PcrId pcr, const toml::node& item) {
      const std::string text = string_of("a PCR's value", item);
      const Bytes bytes = hex_of(text, tpm_digest_bytes(pcr.bank), item.source());
      if (!reference.set(pcr, bytes)) fail(item.source(), to_string(pcr) + " is given twice");
    });
  }
  return references;
}

// Nothing that must be decided may be left open.
void check_complete(const Rules& rules, const toml::source_region& where, std::string_view what) {
  if (rules.isolation == Isolation::kNone) {
    fail(where, std::string(what) + " needs an isolation level: isolation = \"memfd\" for any");
  }
  if (rules.references.empty() && rules.pcrs.empty()) {
    fail(where, std::string(what) + " accepts no measurement: name references, or PCR values");
  }
}

void check_version(const toml::table& file) {
  const auto found = file.find("version");
  if (found == file.end()) throw Refused{{1, "the format's version is missing: version = 1"}};
  const auto* number = found->second.as_integer();
  if (number == nullptr || number->get() != kFormatVersion) {
    fail(found->second.source(), "version must be 1");
  }
}

Rules read_secret(const RuleReader& reader, const Rules& general, const toml::table& section) {
  Rules rules = general;
  // What is accepted is said in one place: either key takes the place of both.
  if (section.contains("references") || section.contains("pcr")) {
    rules.references.clear();
    rules.pcrs.clear();
  }
  for (const auto& [key, value] : section) {
    if (!reader.read(rules, key, value)) {
      fail(key.source(), "unknown key " + in_quotes(key.str()) +
                             "; known in a secret's section: " + RuleReader::known_keys());
    }
  }
  return rules;
}

void read_secrets(Policy& policy, const RuleReader& reader, const toml::table& sections) {
  for (const auto& [key, value] : sections) {
    if (!is_secret_name(key.str())) {
      fail(key.source(), in_quotes(key.str()) +
                             " is not a secret's name: \"repository/type/tag\" of "
                             "letters, digits, '.', '_' and '-'");
    }
    Rules rules = read_secret(reader, policy.general, table_of(key, value));
    check_complete(rules, key.source(), "secret " + in_quotes(key.str()));
    policy.secrets.emplace(key.str(), std::move(rules));
  }
}

Policy read_policy(const toml::table& file) {
  check_version(file);
  Policy policy;
  policy.references = read_references_of(file);
  const RuleReader reader(policy.references);
  for (const auto& [key, value] : file) {
    const std::string_view name = key.str();
    if (name == "version" || name == "reference" || name == "secret") continue;
    if (!reader.read(policy.general, key, value)) {
      fail(key.source(), "unknown key " + in_quotes(name) +
                             "; known here: version, reference, secret, " +
                             RuleReader::known_keys());
    }
  }
  // After all the general rules, whatever their place in the file.
  if (const auto found = file.find("secret"); found != file.end()) {
    read_secrets(policy, reader, table_of(found->first, found->second));
  }
  if (policy.secrets.empty()) check_complete(policy.general, file.source(), "the policy");
  return policy;
}

Policy parse(std::string_view text) {
  if (text.size() > kMaxPolicyBytes) throw Refused{{0, "larger than 1 MiB"}};
  if (const std::size_t line = first_line_beyond_ascii(text)) {
    throw Refused{{line, kBeyondAscii}};
  }
  try {
    return read_policy(toml::parse(text));
  } catch (const toml::parse_error& error) {
    fail(error.source(), "not valid TOML: " + std::string(error.description()));
  }
}

}  // namespace
}  // namespace policy_toml

std::optional<Policy> parse_policy(std::string_view text, PolicyError& error) {
  try {
    return policy_toml::parse(text);
  } catch (const policy_toml::Refused& refused) {
    error = refused.error;
  } catch (const std::exception& exception) {
    error = {0, exception.what()};
  }
  return std::nullopt;
}

}  // namespace bulkhead
