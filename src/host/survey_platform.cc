// SPDX-License-Identifier: Apache-2.0
#include "host/survey_parts.h"

namespace bulkhead::host {

namespace {

QosSurvey survey_qos(const Root& root, const CpuFlags& flags) {
  return {.l2_allocation = flags.has("cat_l2"),
          .l3_allocation = flags.has("cat_l3"),
          .bandwidth_allocation = flags.has("mba"),
          .mounted = root.exists("/sys/fs/resctrl/schemata")};
}

ConfidentialSurvey survey_confidential(const Root& root, const CpuFlags& flags) {
  const std::string amd = "/sys/module/kvm_amd/parameters/";
  return {.sev_device = root.exists("/dev/sev"),
          .sev = root.enabled(amd + "sev"),
          .sev_es = root.enabled(amd + "sev_es"),
          .sev_snp = root.enabled(amd + "sev_snp"),
          .tdx = root.enabled("/sys/module/kvm_intel/parameters/tdx"),
          .cpu_snp = flags.has("sev_snp"),
          .cpu_tdx = flags.has("tdx_host_platform")};
}

int tpm_version(const Root& root) {
  constexpr int kTpm12 = 1;
  auto version = root.number("/sys/class/tpm/tpm0/tpm_version_major");
  if (version) return static_cast<int>(*version & 0xff);
  // Before Linux 5.6 only a TPM 1.2 had a capability file.
  return root.exists("/sys/class/tpm/tpm0/device/caps") ? kTpm12 : 0;
}

}  // namespace

PlatformSurvey survey_platform(const Root& root, const CpuFlags& flags) {
  PlatformSurvey platform;
  platform.iommus = root.list("/sys/class/iommu");
  platform.iommu_groups = root.list("/sys/kernel/iommu_groups").size();
  platform.tpm_device = root.exists("/dev/tpm0");
  platform.tpm_resource_manager = root.exists("/dev/tpmrm0");
  platform.tpm_version = tpm_version(root);
  platform.qos = survey_qos(root, flags);
  platform.confidential = survey_confidential(root, flags);
  return platform;
}

KernelSurvey survey_kernel(const Root& root, const Probes& probes) {
  KernelSurvey kernel;
  kernel.release = root.text("/proc/sys/kernel/osrelease").value_or("");
  kernel.io_uring = probes.io_uring;
  kernel.io_uring_disabled = root.number("/proc/sys/kernel/io_uring_disabled").value_or(0);
  kernel.userfaultfd_device = root.exists("/dev/userfaultfd");
  kernel.userfaultfd_unprivileged = root.enabled("/proc/sys/vm/unprivileged_userfaultfd");
  kernel.userfault = probes.userfault;
  kernel.landlock_abi = probes.landlock_abi;
  kernel.seccomp = probes.seccomp;
  kernel.cgroup_v2 = root.exists("/sys/fs/cgroup/cgroup.controllers");
  return kernel;
}

}  // namespace bulkhead::host
