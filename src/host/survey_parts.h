// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "host/survey.h"

// Private to src/host: the parts that take_survey() puts together.

namespace bulkhead::host {

// The flags line of /proc/cpuinfo, whose text outlives it.
class CpuFlags {
 public:
  explicit CpuFlags(std::string_view line) : flags_(words(line)) {}
  bool has(std::string_view flag) const;

 private:
  std::vector<std::string_view> flags_;
};

KvmSurvey survey_kvm(const Root& root, const CpuFlags& flags, const KvmProbe& probe);
CpuSurvey survey_cpu(const Root& root, std::string_view cpuinfo);
MemorySurvey survey_memory(const Root& root, const Probes& probes);
PlatformSurvey survey_platform(const Root& root, const CpuFlags& flags);
KernelSurvey survey_kernel(const Root& root, const Probes& probes);

std::vector<IsolationLevel> isolation_ladder(const Survey& survey);
std::vector<std::string> give_advice(const Survey& survey);

}  // namespace bulkhead::host
