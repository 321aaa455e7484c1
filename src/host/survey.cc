// SPDX-License-Identifier: Apache-2.0
#include "host/survey.h"

#include "host/survey_parts.h"

namespace bulkhead::host {

Survey take_survey(const Root& root, const Probes& probes) {
  Survey survey;
  std::string cpuinfo = root.text("/proc/cpuinfo").value_or("");
  CpuFlags flags(field(cpuinfo, "flags").value_or(""));
  survey.kvm = survey_kvm(root, flags, probes.kvm);
  survey.cpu = survey_cpu(root, cpuinfo);
  survey.memory = survey_memory(root, probes);
  survey.platform = survey_platform(root, flags);
  survey.kernel = survey_kernel(root, probes);
  survey.ladder = isolation_ladder(survey);
  for (const IsolationLevel& rung : survey.ladder) {
    if (rung.available) survey.isolation = rung.level;
  }
  survey.advice = give_advice(survey);
  return survey;
}

const char* to_string(KvmKind kind) {
  switch (kind) {
    case KvmKind::kVmx:
      return "vmx";
    case KvmKind::kSvm:
      return "svm";
    case KvmKind::kParavirtual:
      return "paravirtual";
    case KvmKind::kNone:
      break;
  }
  return "none";
}

}  // namespace bulkhead::host
