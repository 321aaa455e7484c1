// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "host/doctor.h"

namespace bulkhead::host {

namespace {

using Json = nlohmann::ordered_json;

Json kvm_json(const KvmSurvey& kvm) {
  return {{"kind", to_string(kvm.kind)},
          {"usable", kvm.usable},
          {"reason", kvm.reason},
          {"nested_paging", kvm.nested_paging},
          {"nested_guests", kvm.nested_guests},
          {"max_vcpus", kvm.device.max_vcpus},
          {"max_memory_slots", kvm.device.max_slots},
          {"read_only_memory", kvm.device.read_only_slots},
          {"exit_on_emulation_failure", kvm.device.exit_on_emulation_failure},
          {"tsc_deadline_timer", kvm.device.tsc_deadline},
          {"prefault", kvm.device.prefault}};
}

Json cpu_json(const CpuSurvey& cpu) {
  Json vulnerabilities = Json::object();
  for (const auto& [name, state] : cpu.vulnerabilities) vulnerabilities[name] = state;
  return {{"vendor", cpu.vendor},         {"model", cpu.model},
          {"threads", cpu.threads},       {"smt", cpu.smt},
          {"smt_active", cpu.smt_active}, {"vulnerabilities", vulnerabilities}};
}

Json pool_json(const HugePages& pages) {
  return {{"total", pages.total}, {"free", pages.free}};
}

Json daemon_json(const DaemonProbe& daemon) {
  return {{"answers", daemon.answers},       {"reason", daemon.error},
          {"pools", daemon.pools},           {"total_bytes", daemon.total_bytes},
          {"free_bytes", daemon.free_bytes}, {"carved_free_bytes", daemon.carved_free_bytes}};
}

Json memory_json(const MemorySurvey& memory) {
  Json limit = nullptr;
  if (memory.memlock_limit_bytes) limit = *memory.memlock_limit_bytes;
  return {{"total_bytes", memory.total_bytes},
          {"available_bytes", memory.available_bytes},
          {"swap_bytes", memory.swap_bytes},
          {"lock_limit_bytes", limit},
          {"sealed_memfd", memory.sealed_memfd},
          {"huge_pages_2m", pool_json(memory.huge_2m)},
          {"huge_pages_1g", pool_json(memory.huge_1g)},
          {"shmem_huge", memory.shmem_huge},
          {"carved", memory.carved},
          {"carved_largest_bytes", memory.carved_largest_bytes},
          {"guest_memfd", memory.guest_memfd},
          {"guest_memfd_mappable", memory.guest_memfd_mappable},
          {"memfd_secret", memory.memfd_secret},
          {"bulkheadd", daemon_json(memory.daemon)},
          {"ksm", memory.ksm}};
}

Json platform_json(const PlatformSurvey& platform) {
  const QosSurvey& qos = platform.qos;
  const ConfidentialSurvey& confidential = platform.confidential;
  return {{"iommus", platform.iommus},
          {"iommu_groups", platform.iommu_groups},
          {"tpm",
           {{"present", platform.tpm_device},
            {"resource_manager", platform.tpm_resource_manager},
            {"version", platform.tpm_version}}},
          {"qos",
           {{"l2_allocation", qos.l2_allocation},
            {"l3_allocation", qos.l3_allocation},
            {"bandwidth_allocation", qos.bandwidth_allocation},
            {"resctrl_mounted", qos.mounted}}},
          {"confidential",
           {{"sev", confidential.sev},
            {"sev_es", confidential.sev_es},
            {"sev_snp", confidential.sev_snp},
            {"tdx", confidential.tdx},
            {"sev_device", confidential.sev_device},
            {"cpu_snp", confidential.cpu_snp},
            {"cpu_tdx", confidential.cpu_tdx}}}};
}

Json kernel_json(const KernelSurvey& kernel) {
  return {{"release", kernel.release},
          {"io_uring", kernel.io_uring},
          {"io_uring_disabled", kernel.io_uring_disabled},
          {"userfaultfd_device", kernel.userfaultfd_device},
          {"userfaultfd_unprivileged", kernel.userfaultfd_unprivileged},
          {"userfaultfd_works", kernel.userfault.works},
          {"userfaultfd_reason", kernel.userfault.error},
          {"userfaultfd_protects", kernel.userfault.protects},
          {"landlock_abi", kernel.landlock_abi},
          {"seccomp", kernel.seccomp},
          {"cgroup_v2", kernel.cgroup_v2}};
}

Json isolation_json(const Survey& survey) {
  Json levels = Json::array();
  for (const IsolationLevel& rung : survey.ladder) {
    levels.push_back({{"level", to_string(rung.level)},
                      {"host_ready", rung.host_ready},
                      {"available", rung.available},
                      {"reason", rung.reason}});
  }
  return {{"level", to_string(survey.isolation)}, {"levels", levels}};
}

}  // namespace

std::string report_json(const Survey& survey) {
  Json report = {{"version", 1},
                 {"hardware_kvm", survey.kvm.usable},
                 {"kvm", kvm_json(survey.kvm)},
                 {"cpu", cpu_json(survey.cpu)},
                 {"memory", memory_json(survey.memory)},
                 {"platform", platform_json(survey.platform)},
                 {"kernel", kernel_json(survey.kernel)},
                 {"isolation", isolation_json(survey)},
                 {"advice", survey.advice}};
  // Text that the machine gave need not be UTF-8: bad bytes become U+FFFD instead of an exception.
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bulkhead::host
