// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/thread_annotations.h"

namespace bulkhead::broker {

// Counters and gauges in Prometheus's text form. Thread-safe. Labels are ours or configured names:
// a requester cannot make a new series.
class Metrics {
 public:
  // `labels` as they stand in the text: tenant="a",outcome="granted"
  void add(std::string_view name, const std::string& labels, double amount = 1);
  void set(std::string_view name, const std::string& labels, double value);

  // version 0.0.4 of the text format
  std::string text();

 private:
  using Series = std::map<std::string, double, std::less<>>;

  Mutex mutex_;
  std::map<std::string, Series, std::less<>> all_ GUARDED_BY(mutex_);
};

}  // namespace bulkhead::broker
