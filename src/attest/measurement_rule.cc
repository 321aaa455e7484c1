// SPDX-License-Identifier: Apache-2.0
#include "attest/measurement_rule.h"

#include <algorithm>

namespace bulkhead {
namespace {

// What is seen and what is wanted where they differ.
struct Differences {
  unsigned count = 0;
  std::string seen;
  std::string wanted;

  void add(PcrId pcr, const Bytes* value, std::string want) {
    const std::string name = (count++ == 0 ? "" : ", ") + to_string(pcr) + " = ";
    seen += name + (value == nullptr ? "not quoted" : to_hex(*value));
    wanted += name + std::move(want);
  }
  void append(const Differences& other) {
    if (other.count == 0) return;
    seen += (count == 0 ? "" : ", ") + other.seen;
    wanted += (count == 0 ? "" : ", ") + other.wanted;
    count += other.count;
  }
};

Differences from_reference(const PcrValues& reference, const PcrValues& pcrs) {
  Differences differences;
  for (const auto& [pcr, wanted] : reference.all()) {
    const Bytes* value = pcrs.find(pcr);
    if (value == nullptr || *value != wanted) differences.add(pcr, value, to_hex(wanted));
  }
  return differences;
}

Differences from_values(const Rules& rules, const PcrValues& pcrs) {
  Differences differences;
  for (const auto& [pcr, accepted] : rules.pcrs) {
    const Bytes* value = pcrs.find(pcr);
    if (value != nullptr && std::ranges::find(accepted, *value) != accepted.end()) continue;
    differences.add(pcr, value,
                    accepted.size() == 1 ? to_hex(accepted.front())
                                         : "one of " + std::to_string(accepted.size()) + " values");
  }
  return differences;
}

struct Nearest {
  std::string name;  // empty: no reference at all
  Differences differences;
};

Nearest nearest_reference(const Policy& policy, const Rules& rules, const PcrValues& pcrs) {
  Nearest nearest;
  for (const std::string& name : rules.references) {
    const auto reference = policy.references.find(name);
    // One without values would match everything.
    if (reference == policy.references.end() || reference->second.all().empty()) continue;
    Differences differences = from_reference(reference->second, pcrs);
    if (nearest.name.empty() || differences.count < nearest.differences.count) {
      nearest = {name, std::move(differences)};
    }
  }
  return nearest;
}

}  // namespace

void judge_measurement(Report& report, const Policy& policy, const Rules& rules,
                       const PcrValues& pcrs) {
  const Nearest nearest = nearest_reference(policy, rules, pcrs);
  const bool has_reference = !nearest.name.empty();
  if ((rules.references.empty() && rules.pcrs.empty()) ||
      (!rules.references.empty() && !has_reference)) {
    report.judge(Check::kMeasurement, false, "",
                 "a measurement that the policy names: it has none");
    return;
  }
  Differences all = nearest.differences;
  all.append(from_values(rules, pcrs));
  if (all.count == 0) {
    report.judge(Check::kMeasurement, true, has_reference ? nearest.name : "accepted PCR values",
                 "a measurement that the policy names");
    return;
  }
  std::string source = has_reference ? " (" + nearest.name + " is the nearest reference)" : "";
  report.judge(Check::kMeasurement, false, std::move(all.seen), all.wanted + source);
}

}  // namespace bulkhead
