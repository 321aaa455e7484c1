// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "host/survey_parts.h"

namespace bulkhead::host {

namespace {

unsigned count_processors(std::string_view cpuinfo) {
  unsigned count = 0;
  while (!cpuinfo.empty()) {
    if (cpuinfo.starts_with("processor")) ++count;
    cpuinfo.remove_prefix(std::min(cpuinfo.find('\n'), cpuinfo.size() - 1) + 1);
  }
  return count;
}

// /proc/cpuinfo of a large machine is longer than what is read of it: sysfs knows the number.
unsigned threads_online(const Root& root, std::string_view cpuinfo) {
  unsigned count = 0;
  for (const std::string& name : root.list("/sys/devices/system/cpu")) {
    bool is_cpu = name.starts_with("cpu") && parse_number(name.substr(3)).has_value();
    if (!is_cpu) continue;
    // cpu0 often has no such file, and is always online then.
    if (root.number("/sys/devices/system/cpu/" + name + "/online").value_or(1) != 0) ++count;
  }
  return count != 0 ? count : count_processors(cpuinfo);
}

}  // namespace

bool CpuFlags::has(std::string_view flag) const {
  return std::ranges::find(flags_, flag) != flags_.end();
}

CpuSurvey survey_cpu(const Root& root, std::string_view cpuinfo) {
  constexpr std::string_view kVulnerabilities = "/sys/devices/system/cpu/vulnerabilities";
  CpuSurvey cpu;
  cpu.vendor = field(cpuinfo, "vendor_id").value_or("");
  cpu.model = field(cpuinfo, "model name").value_or("");
  cpu.threads = threads_online(root, cpuinfo);
  cpu.smt = root.text("/sys/devices/system/cpu/smt/control").value_or("");
  cpu.smt_active = root.enabled("/sys/devices/system/cpu/smt/active");
  for (const std::string& name : root.list(kVulnerabilities)) {
    auto state = root.text(std::string(kVulnerabilities) + "/" + name);
    cpu.vulnerabilities.emplace_back(name, state.value_or("unknown"));
  }
  return cpu;
}

}  // namespace bulkhead::host
