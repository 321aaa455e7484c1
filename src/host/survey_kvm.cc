// SPDX-License-Identifier: Apache-2.0
#include "host/survey_parts.h"

namespace bulkhead::host {

namespace {

struct Vendor {
  std::string_view module;
  std::string_view paging_parameter;
};

constexpr Vendor kIntel = {"kvm_intel", "ept"};
constexpr Vendor kAmd = {"kvm_amd", "npt"};

std::string module_path(const Vendor& vendor, std::string_view parameter) {
  return "/sys/module/" + std::string(vendor.module) + "/parameters/" + std::string(parameter);
}

KvmKind kind_of(const CpuFlags& flags, const KvmProbe& probe, bool device) {
  if (flags.has("vmx")) return KvmKind::kVmx;
  if (flags.has("svm")) return KvmKind::kSvm;
  return probe.opens || device ? KvmKind::kParavirtual : KvmKind::kNone;
}

std::string why_not_usable(const Root& root, const KvmSurvey& kvm) {
  switch (kvm.kind) {
    case KvmKind::kNone:
      return "the processor shows neither VT-x nor AMD-V";
    case KvmKind::kParavirtual:
      return "no VT-x or AMD-V behind /dev/kvm, so stock guests do not run at speed";
    case KvmKind::kVmx:
    case KvmKind::kSvm:
      break;
  }
  if (kvm.device.opens) return "";
  const Vendor& vendor = kvm.kind == KvmKind::kVmx ? kIntel : kAmd;
  bool loaded = root.exists("/sys/module/" + std::string(vendor.module));
  if (!root.exists("/dev/kvm") && !loaded) {
    return "the module " + std::string(vendor.module) + " is not loaded";
  }
  return kvm.device.error;
}

}  // namespace

KvmSurvey survey_kvm(const Root& root, const CpuFlags& flags, const KvmProbe& probe) {
  KvmSurvey kvm;
  kvm.device = probe;
  kvm.kind = kind_of(flags, probe, root.exists("/dev/kvm"));
  kvm.reason = why_not_usable(root, kvm);
  kvm.usable = kvm.reason.empty();
  if (kvm.kind == KvmKind::kVmx || kvm.kind == KvmKind::kSvm) {
    const Vendor& vendor = kvm.kind == KvmKind::kVmx ? kIntel : kAmd;
    kvm.nested_paging = root.enabled(module_path(vendor, vendor.paging_parameter));
    kvm.nested_guests = root.enabled(module_path(vendor, "nested"));
  }
  return kvm;
}

}  // namespace bulkhead::host
