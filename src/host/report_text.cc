// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/address.h"
#include "host/doctor.h"

namespace bulkhead::host {

namespace {

enum class Mark : std::uint8_t { kGood, kAbsent, kWarning };

Mark good_if(bool condition) {
  return condition ? Mark::kGood : Mark::kAbsent;
}
Mark warn_if(bool condition) {
  return condition ? Mark::kWarning : Mark::kGood;
}

std::string size_text(std::uint64_t bytes) {
  if (bytes >= kGiB) {
    std::uint64_t tenths = bytes * 10 / kGiB;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
  }
  return std::to_string(bytes / kMiB) + " MiB";
}

template <class Strings>
std::string join(const Strings& strings, std::string_view fallback) {
  std::string text;
  for (const auto& string : strings) {
    if (!text.empty()) text += ", ";
    text += string;
  }
  return text.empty() ? std::string(fallback) : text;
}

// The names of the facts that hold.
struct Named {
  std::string_view name;
  bool holds;
};
std::string names(std::initializer_list<Named> facts, std::string_view fallback) {
  std::vector<std::string_view> held;
  for (const Named& fact : facts) {
    if (fact.holds) held.push_back(fact.name);
  }
  return join(held, fallback);
}

class TextReport {
 public:
  explicit TextReport(bool unicode) : unicode_(unicode) {}

  void section(std::string_view title) {
    if (!text_.empty()) text_ += '\n';
    text_ += title;
    text_ += '\n';
  }

  void line(Mark mark, std::string_view label, std::string_view fact) {
    constexpr std::size_t kLabelWidth = 24;
    text_ += "  ";
    text_ += symbol(mark);
    text_ += ' ';
    text_ += label;
    text_.append(kLabelWidth - std::min(label.size(), kLabelWidth - 1), ' ');
    text_ += fact;
    text_ += '\n';
  }

  void item(std::string_view fact) {
    text_ += unicode_ ? "  • " : "  * ";
    text_ += fact;
    text_ += '\n';
  }

  std::string take() && { return std::move(text_); }

 private:
  std::string_view symbol(Mark mark) const {
    switch (mark) {
      case Mark::kGood:
        return unicode_ ? "✓" : "+";
      case Mark::kAbsent:
        return unicode_ ? "–" : "-";
      case Mark::kWarning:
        break;
    }
    return "!";
  }

  bool unicode_;
  std::string text_;
};

std::string kind_text(const KvmSurvey& kvm) {
  switch (kvm.kind) {
    case KvmKind::kVmx:
      return "Intel VT-x";
    case KvmKind::kSvm:
      return "AMD-V";
    case KvmKind::kParavirtual:
      return "paravirtual";
    case KvmKind::kNone:
      break;
  }
  return "none";
}

void report_kvm(const Survey& survey, TextReport& report) {
  const KvmSurvey& kvm = survey.kvm;
  report.section("Virtualization");
  std::string kind = kind_text(kvm);
  if (!kvm.usable) kind += ": " + kvm.reason;
  report.line(kvm.usable ? Mark::kGood : Mark::kWarning, "KVM", kind);
  report.line(good_if(kvm.nested_paging), "nested paging", kvm.nested_paging ? "on" : "no");
  if (!kvm.device.opens) return;
  const KvmProbe& device = kvm.device;
  report.line(Mark::kGood, "limits",
              std::to_string(device.max_vcpus) + " vCPUs, " + std::to_string(device.max_slots) +
                  " memory slots");
  report.line(Mark::kGood, "KVM features",
              names({{"read-only memory", device.read_only_slots},
                     {"exit on emulation failure", device.exit_on_emulation_failure},
                     {"TSC deadline timer", device.tsc_deadline},
                     {"prefault", device.prefault}},
                    "none of the optional ones"));
}

void report_cpu(const Survey& survey, TextReport& report) {
  const CpuSurvey& cpu = survey.cpu;
  report.section("Processor");
  report.line(Mark::kGood, "model", cpu.model.empty() ? "not known" : cpu.model);
  report.line(Mark::kGood, "threads", std::to_string(cpu.threads));
  report.line(warn_if(cpu.smt_active), "SMT", cpu.smt.empty() ? "not known" : cpu.smt);
  std::vector<std::string_view> open;
  for (const auto& [name, state] : cpu.vulnerabilities) {
    if (state.starts_with("Vulnerable")) open.emplace_back(name);
  }
  report.line(warn_if(!open.empty()), "not mitigated", join(open, "nothing that is known"));
  const QosSurvey& qos = survey.platform.qos;
  std::string partitioning = names({{"L2 cache", qos.l2_allocation},
                                    {"L3 cache", qos.l3_allocation},
                                    {"memory bandwidth", qos.bandwidth_allocation}},
                                   "no cache or bandwidth allocation (CAT, AMD QoS)");
  if (qos.mounted) partitioning += "; resctrl is mounted";
  report.line(good_if(qos.l3_allocation), "partitioning", partitioning);
}

std::string huge_text(const MemorySurvey& memory) {
  auto pool = [](const HugePages& pages, std::string_view size) {
    return std::to_string(pages.free) + " of " + std::to_string(pages.total) + " free (" +
           std::string(size) + ")";
  };
  return pool(memory.huge_2m, "2 MiB") + ", " + pool(memory.huge_1g, "1 GiB");
}

std::string daemon_text(const DaemonProbe& daemon) {
  if (!daemon.answers) return "does not answer";
  return "answers, " + size_text(daemon.free_bytes) + " of " + size_text(daemon.total_bytes) +
         " free in " + std::to_string(daemon.pools) + (daemon.pools == 1 ? " pool" : " pools");
}

void report_memory(const Survey& survey, TextReport& report) {
  const MemorySurvey& memory = survey.memory;
  report.section("Memory");
  report.line(
      Mark::kGood, "size",
      size_text(memory.total_bytes) + ", " + size_text(memory.available_bytes) + " available");
  report.line(good_if(memory.sealed_memfd), "sealed memfd", memory.sealed_memfd ? "yes" : "no");
  report.line(good_if(memory.huge_2m.free + memory.huge_1g.free > 0), "huge pages",
              huge_text(memory));
  report.line(good_if(!memory.shmem_huge.empty() && memory.shmem_huge != "never"),
              "huge shared memory", memory.shmem_huge.empty() ? "not known" : memory.shmem_huge);
  report.line(good_if(!memory.carved.empty()), "carved ranges", join(memory.carved, "none"));
  report.line(good_if(memory.guest_memfd), "guest_memfd",
              memory.guest_memfd_mappable ? "yes, mappable"
              : memory.guest_memfd        ? "yes, for confidential guests only"
                                          : "no");
  report.line(Mark::kGood, "lock limit",
              memory.memlock_limit_bytes ? size_text(*memory.memlock_limit_bytes) : "none");
  report.line(good_if(memory.daemon.answers), "bulkheadd", daemon_text(memory.daemon));
  report.line(warn_if(memory.swap_bytes != 0), "swap",
              memory.swap_bytes == 0 ? "off" : size_text(memory.swap_bytes));
  report.line(Mark::kGood, "page merging (KSM)", memory.ksm ? "on, guest memory is exempt" : "off");
}

std::string tpm_text(const PlatformSurvey& platform) {
  if (!platform.tpm_device) return "none";
  std::string text =
      "version " +
      (platform.tpm_version == 0 ? std::string("not known") : std::to_string(platform.tpm_version));
  return text + (platform.tpm_resource_manager ? ", with resource manager" : "");
}

void report_platform(const Survey& survey, TextReport& report) {
  const PlatformSurvey& platform = survey.platform;
  const ConfidentialSurvey& confidential = platform.confidential;
  report.section("Platform");
  report.line(good_if(!platform.iommus.empty()), "IOMMU",
              platform.iommus.empty() ? "none"
                                      : join(platform.iommus, "") + ", " +
                                            std::to_string(platform.iommu_groups) + " groups");
  report.line(good_if(platform.tpm_device), "TPM", tpm_text(platform));
  bool any = confidential.sev || confidential.sev_snp || confidential.tdx;
  report.line(good_if(any), "confidential guests",
              names({{"SEV", confidential.sev},
                     {"SEV-ES", confidential.sev_es},
                     {"SEV-SNP", confidential.sev_snp},
                     {"TDX", confidential.tdx}},
                    "none"));
}

std::string userfault_text(const KernelSurvey& kernel) {
  if (kernel.userfault.works) return kernel.userfault.protects ? "yes" : "yes, without protection";
  return kernel.userfaultfd_device ? "not for this user" : "no";
}

void report_kernel(const Survey& survey, TextReport& report) {
  const KernelSurvey& kernel = survey.kernel;
  report.section("Kernel " + kernel.release);
  report.line(good_if(kernel.io_uring), "io_uring",
              kernel.io_uring                 ? "yes"
              : kernel.io_uring_disabled != 0 ? "disabled by sysctl"
                                              : "no");
  report.line(good_if(kernel.landlock_abi > 0), "Landlock",
              kernel.landlock_abi > 0 ? "ABI " + std::to_string(kernel.landlock_abi) : "no");
  report.line(good_if(kernel.seccomp), "seccomp", kernel.seccomp ? "yes" : "no");
  report.line(good_if(kernel.cgroup_v2), "cgroup v2", kernel.cgroup_v2 ? "yes" : "no");
  report.line(good_if(kernel.userfault.works), "userfaultfd", userfault_text(kernel));
  report.line(good_if(survey.memory.memfd_secret), "memfd_secret",
              survey.memory.memfd_secret ? "yes" : "no: the host kernel can read keys");
}

void report_isolation(const Survey& survey, TextReport& report) {
  report.section(std::string("Isolation a partition can get here: ") + to_string(survey.isolation));
  for (const IsolationLevel& rung : survey.ladder) {
    std::string available = "available";
    if (rung.level != Isolation::kMemfd) {
      available += std::string(", with --backing ") + to_string(rung.level);
    }
    report.line(good_if(rung.available), to_string(rung.level),
                rung.available ? available : rung.reason);
  }
}

}  // namespace

std::string report_text(const Survey& survey, bool unicode) {
  TextReport report(unicode);
  report_kvm(survey, report);
  report_cpu(survey, report);
  report_memory(survey, report);
  report_platform(survey, report);
  report_kernel(survey, report);
  report_isolation(survey, report);
  if (!survey.advice.empty()) report.section("Advice");
  for (const std::string& advice : survey.advice) report.item(advice);
  report.section(survey.kvm.usable ? "Verdict: partitions run here, on hardware KVM."
                                   : "Verdict: partitions run here in the lab only.");
  return std::move(report).take();
}

}  // namespace bulkhead::host
