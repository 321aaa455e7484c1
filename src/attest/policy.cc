// SPDX-License-Identifier: Apache-2.0
#include "attest/policy.h"

#include <algorithm>

#include "attest/measurement_rule.h"

namespace bulkhead {
namespace {

void judge_debug(Report& report, const Rules& rules, const Claims& claims) {
  report.judge(Check::kDebug, rules.allow_debug || !claims.debug, claims.debug ? "on" : "off",
               rules.allow_debug ? "on or off" : "off");
}

void judge_rollback(Report& report, const Rules& rules, const Claims& claims) {
  report.judge(
      Check::kRollback, rules.allow_file_counter || claims.tpm_state != TpmState::kFileCounter,
      to_string(claims.tpm_state), rules.allow_file_counter ? "any" : "transient or host-counter");
}

void judge_isolation(Report& report, const Rules& rules, const Claims& claims) {
  const bool said = rules.isolation != Isolation::kNone;
  report.judge(Check::kIsolation, said && at_least(claims.isolation, rules.isolation),
               to_string(claims.isolation),
               said ? std::string("at least ") + to_string(rules.isolation)
                    : "a level that the policy names, which it does not");
}

void judge_versions(Report& report, const Rules& rules, const Claims& claims) {
  bool passed = true;
  std::string seen;
  std::string wanted;
  for (Component component : kComponents) {
    const auto& minimum = rules.minimum_versions[component];
    if (!minimum) continue;
    const auto& version = claims.versions[component];
    passed = passed && version && *version >= *minimum;
    const std::string name = std::string(seen.empty() ? "" : ", ") + to_string(component) + " ";
    seen += name + (version ? to_string(*version) : "unknown");
    wanted += name + to_string(*minimum) + " or later";
  }
  if (wanted.empty()) {
    report.not_applicable(Check::kVersion, "the policy demands no version");
    return;
  }
  report.judge(Check::kVersion, passed, std::move(seen), std::move(wanted));
}

void judge_host(Report& report, const Rules& rules, const Claims& claims) {
  if (rules.hosts.empty()) {
    report.not_applicable(Check::kHost, "the policy names no machines");
    return;
  }
  const bool named =
      claims.host && std::ranges::find(rules.hosts, *claims.host) != rules.hosts.end();
  const std::string wanted = rules.hosts.size() == 1
                                 ? to_hex(rules.hosts.front())
                                 : "one of " + std::to_string(rules.hosts.size()) + " machines";
  report.judge(Check::kHost, named, claims.host ? to_hex(*claims.host) : "unknown", wanted);
}

void judge_freshness(Report& report, const Rules& rules, const Claims& claims) {
  const auto& age = claims.quote_age_s;
  if (!age && claims.age_is_open) {
    report.not_applicable(Check::kFreshness, "when the nonce was given out is not known");
    return;
  }
  report.judge(Check::kFreshness, age && *age <= rules.max_quote_age_s,
               age ? std::to_string(*age) + " s old" : "of unknown age",
               "at most " + std::to_string(rules.max_quote_age_s) + " s");
}

void judge_rules(Report& report, const Policy& policy, const Rules& rules, const Claims& claims) {
  judge_debug(report, rules, claims);
  judge_rollback(report, rules, claims);
  judge_isolation(report, rules, claims);
  judge_versions(report, rules, claims);
  judge_host(report, rules, claims);
  judge_freshness(report, rules, claims);
  judge_measurement(report, policy, rules, claims.pcrs);
}

void select(PcrSelections& selections, PcrId pcr) {
  auto found = std::ranges::find(selections, pcr.bank, &PcrSelection::bank);
  if (found == selections.end()) found = selections.insert(found, PcrSelection{pcr.bank, 0});
  found->pcrs |= 1U << pcr.index;
}

}  // namespace

const Rules* Policy::rules_for(std::optional<std::string_view> secret) const {
  if (!secret) return &general;
  const auto found = secrets.find(*secret);
  return found == secrets.end() ? nullptr : &found->second;
}

PcrSelections Policy::required_pcrs(const Rules& rules) const {
  PcrSelections selections;
  for (const auto& [pcr, values] : rules.pcrs) select(selections, pcr);
  for (const std::string& name : rules.references) {
    const auto reference = references.find(name);
    if (reference == references.end()) continue;
    for (const auto& [pcr, value] : reference->second.all()) select(selections, pcr);
  }
  return selections;
}

Report evaluate(const Policy& policy, std::optional<std::string_view> secret, const Claims& claims,
                const CheckSwitches& switches) {
  Report report(switches);
  const Rules* rules = policy.rules_for(secret);
  if (secret) {
    // The name is the requester's, and thus not repeated.
    report.judge(Check::kSecret, rules != nullptr, rules != nullptr ? "known" : "unknown",
                 "a secret that the policy names");
  } else {
    report.not_applicable(Check::kSecret, "no secret was named: the general rules count");
  }
  judge_rules(report, policy, rules != nullptr ? *rules : policy.general, claims);
  return report;
}

}  // namespace bulkhead
