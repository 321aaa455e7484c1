// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/isolation.h"
#include "host/probes.h"
#include "host/root.h"

// What this machine can do for a partition: plain facts, without a judgement but where said.

namespace bulkhead::host {

enum class KvmKind : std::uint8_t {
  kVmx,
  kSvm,
  kParavirtual,  // /dev/kvm without vmx or svm: cannot run stock guests at speed
  kNone,
};

struct KvmSurvey {
  KvmKind kind = KvmKind::kNone;
  bool usable = false;         // hardware virtualization that this user can open now
  std::string reason;          // why not usable; empty otherwise
  bool nested_paging = false;  // EPT or NPT
  bool nested_guests = false;  // the module lets guests have VMX or SVM
  KvmProbe device;
};

struct CpuSurvey {
  std::string vendor;
  std::string model;
  unsigned threads = 0;
  std::string smt;  // as /sys/devices/system/cpu/smt/control has it; empty: not known
  bool smt_active = false;
  std::vector<std::pair<std::string, std::string>> vulnerabilities;  // name, state
};

struct HugePages {
  std::uint64_t total = 0;
  std::uint64_t free = 0;
};

struct MemorySurvey {
  std::uint64_t total_bytes = 0;
  std::uint64_t available_bytes = 0;
  std::uint64_t swap_bytes = 0;
  bool sealed_memfd = false;
  std::optional<std::uint64_t> memlock_limit_bytes;  // absent: unlimited
  HugePages huge_2m, huge_1g;
  std::string shmem_huge;                  // THP policy of shared memory: never, advise, always, …
  std::vector<std::string> carved;         // memmap=SIZE$ADDRESS of the kernel's command line
  std::uint64_t carved_largest_bytes = 0;  // of those ranges
  bool guest_memfd = false;
  bool guest_memfd_mappable = false;
  bool memfd_secret = false;
  DaemonProbe daemon;
  bool ksm = false;  // the kernel merges equal pages of those who let it
};

// Cache and bandwidth partitioning: Intel RDT, AMD PQOS.
struct QosSurvey {
  bool l2_allocation = false;
  bool l3_allocation = false;
  bool bandwidth_allocation = false;
  bool mounted = false;  // /sys/fs/resctrl
};

struct ConfidentialSurvey {
  bool sev_device = false;                                         // /dev/sev
  bool sev = false, sev_es = false, sev_snp = false, tdx = false;  // enabled in KVM
  bool cpu_snp = false, cpu_tdx = false;                           // the processor could
};

struct PlatformSurvey {
  std::vector<std::string> iommus;
  std::size_t iommu_groups = 0;
  bool tpm_device = false;
  bool tpm_resource_manager = false;
  int tpm_version = 0;  // major; 0: no TPM
  QosSurvey qos;
  ConfidentialSurvey confidential;
};

struct KernelSurvey {
  std::string release;
  bool io_uring = false;
  std::uint64_t io_uring_disabled = 0;  // the sysctl: 1 for users without privilege, 2 for all
  bool userfaultfd_device = false;
  bool userfaultfd_unprivileged = false;
  UserFaultProbe userfault;
  int landlock_abi = 0;
  bool seccomp = false;
  bool cgroup_v2 = false;
};

// One rung of the ladder of DESIGN.md.
struct IsolationLevel {
  Isolation level = Isolation::kNone;
  bool host_ready = false;  // the machine has what it takes
  bool available = false;   // and this version of Bulkhead uses it
  std::string reason;       // why not available
};

struct Survey {
  KvmSurvey kvm;
  CpuSurvey cpu;
  MemorySurvey memory;
  PlatformSurvey platform;
  KernelSurvey kernel;
  std::vector<IsolationLevel> ladder;      // lowest first, without kNone
  Isolation isolation = Isolation::kNone;  // the highest available
  std::vector<std::string> advice;         // what to do next, most important first
};

Survey take_survey(const Root& root, const Probes& probes);

const char* to_string(KvmKind kind);

}  // namespace bulkhead::host
