// SPDX-License-Identifier: Apache-2.0
// Policies: a whole one or an error with its reason, and a whole one can be judged by. Claims that
// know nothing satisfy none, whatever it says.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "attest/toml/policy_file.h"
#include "base/check.h"

namespace bulkhead {
namespace {

void judge(const Policy& policy, std::optional<std::string_view> secret) {
  const Rules* rules = policy.rules_for(secret);
  CHECK(rules != nullptr);
  for (const std::string& name : rules->references) CHECK(policy.references.contains(name));
  const Report report = evaluate(policy, secret, Claims{});
  CHECK(!report.accepted() && report.refusal() != nullptr);
  for (const Finding& finding : report.findings()) CHECK(!to_line(finding).empty());
  static_cast<void>(policy.required_pcrs(*rules));
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  const auto* text = static_cast<const char*>(static_cast<const void*>(data));
  PolicyError error;
  const auto policy = parse_policy(std::string_view(text, size), error);
  if (!policy) {
    CHECK(!error.message.empty());
    return 0;
  }
  judge(*policy, std::nullopt);
  for (const auto& [name, rules] : policy->secrets) judge(*policy, name);
  return 0;
}
