// SPDX-License-Identifier: Apache-2.0
#include "broker/metrics.h"

#include <array>
#include <cstdio>

namespace bulkhead::broker {
namespace {

struct Description {
  std::string_view name;
  std::string_view type;
  std::string_view help;
};

constexpr std::array kDescriptions = {
    Description{"bulkhead_broker_requests_total", "counter",
                "Answers by endpoint and HTTP status."},
    Description{"bulkhead_broker_decisions_total", "counter",
                "Decisions by tenant, kind and outcome."},
    Description{"bulkhead_broker_rate_limited_total", "counter",
                "Requests refused for their rate."},
    Description{"bulkhead_broker_judge_seconds_total", "counter", "Time spent on evidence."},
    Description{"bulkhead_broker_sessions", "gauge", "Sessions that are open, by tenant."},
    Description{"bulkhead_broker_token_up", "gauge", "1 if the token process answers."},
    Description{"bulkhead_broker_token_starts_total", "counter",
                "How often the token process was started."},
    Description{"bulkhead_broker_audit_entries", "gauge", "Entries in the audit log."},
};

std::string to_text(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.15g", value);
  return text.data();
}

}  // namespace

void Metrics::add(std::string_view name, const std::string& labels, double amount) {
  const MutexLock lock(mutex_);
  all_[std::string(name)][labels] += amount;
}

void Metrics::set(std::string_view name, const std::string& labels, double value) {
  const MutexLock lock(mutex_);
  all_[std::string(name)][labels] = value;
}

std::string Metrics::text() {
  const MutexLock lock(mutex_);
  std::string out;
  for (const Description& each : kDescriptions) {
    const auto found = all_.find(each.name);
    if (found == all_.end()) continue;
    const std::string name(each.name);
    out += "# HELP " + name + " " + std::string(each.help) + "\n";
    out += "# TYPE " + name + " " + std::string(each.type) + "\n";
    for (const auto& [labels, value] : found->second) {
      out += name + (labels.empty() ? "" : "{" + labels + "}") + " " + to_text(value) + "\n";
    }
  }
  return out;
}

}  // namespace bulkhead::broker
