// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"
#include "host/survey_parts.h"

namespace bulkhead::host {

namespace {

using Advice = std::vector<std::string>;

std::string kvm_remedy(const KvmSurvey& kvm) {
  switch (kvm.kind) {
    case KvmKind::kVmx:
    case KvmKind::kSvm:
      return "Make /dev/kvm usable: " + kvm.reason + ".";
    case KvmKind::kParavirtual:
    case KvmKind::kNone:
      break;
  }
  return "For hardware KVM, turn on VT-x or AMD-V in the firmware; in a virtual machine, nested "
         "virtualization in its host.";
}

void advise_on_kvm(const Survey& survey, Advice& advice) {
  const KvmSurvey& kvm = survey.kvm;
  if (!kvm.usable) {
    advice.push_back(kvm_remedy(kvm));
    advice.push_back("As things are, run partitions in the lab: bulkhead lab run -- COMMAND...");
  } else if (!kvm.nested_paging) {
    advice.push_back(
        "Turn on nested paging (module parameter ept or npt): guests are slow without.");
  }
}

void advise_on_memory(const Survey& survey, Advice& advice) {
  const MemorySurvey& memory = survey.memory;
  if (survey.isolation == Isolation::kMemfd) {
    advice.push_back(
        "For isolation level hugetlb, reserve pages (sudo sysctl vm.nr_hugepages=512), "
        "and use --backing hugetlb.");
  }
  if (memory.swap_bytes != 0) {
    advice.push_back(
        "Swap is on: guest memory that is not locked can reach the disk in plain. "
        "Turn it off (swapoff -a), or encrypt it.");
  }
  if (memory.memlock_limit_bytes && *memory.memlock_limit_bytes < 64 * kMiB) {
    advice.push_back("Raise the limit of locked memory (RLIMIT_MEMLOCK) to what partitions take.");
  }
}

// Keys, sealing, and whose frames partitions get.
void advise_on_sealing(const Survey& survey, Advice& advice) {
  if (!survey.memory.daemon.answers) {
    advice.push_back("Partitions get private frames, which no ledger of the host covers: " +
                     survey.memory.daemon.error + " (man 8 bulkheadd).");
  }
  if (!survey.kernel.userfault.works) {
    advice.push_back(
        "For run --resident, and to resume page by page: " + survey.kernel.userfault.error + ".");
  }
  if (!survey.memory.memfd_secret) {
    advice.push_back(
        "For keys that the host kernel does not map, give it memfd_secret (secretmem.enable=1 on "
        "its command line).");
  }
}

void advise_on_neighbours(const Survey& survey, Advice& advice) {
  std::string open;
  for (const auto& [name, state] : survey.cpu.vulnerabilities) {
    if (state.starts_with("Vulnerable")) open += (open.empty() ? "" : ", ") + name;
  }
  if (!open.empty()) {
    advice.push_back("Update microcode and kernel: the processor is vulnerable to " + open + ".");
  }
  if (survey.cpu.smt_active) {
    advice.push_back(
        "Threads share cores (SMT is on): partitions of different owners should not "
        "share one; give each whole cores, or boot with nosmt.");
  }
}

void advise_on_kernel(const Survey& survey, Advice& advice) {
  const KernelSurvey& kernel = survey.kernel;
  if (!kernel.io_uring) {
    advice.push_back(kernel.io_uring_disabled != 0
                         ? "Allow io_uring for faster disks: sysctl kernel.io_uring_disabled=0."
                         : "The kernel gives no io_uring: disks work, but slower.");
  }
  if (kernel.landlock_abi == 0 || !kernel.seccomp) {
    advice.push_back(
        "The monitor cannot confine itself fully: the kernel needs Landlock and "
        "seccomp (lsm=landlock,... on its command line).");
  }
}

}  // namespace

std::vector<std::string> give_advice(const Survey& survey) {
  Advice advice;
  advise_on_kvm(survey, advice);
  advise_on_memory(survey, advice);
  advise_on_sealing(survey, advice);
  advise_on_neighbours(survey, advice);
  advise_on_kernel(survey, advice);
  return advice;
}

}  // namespace bulkhead::host
