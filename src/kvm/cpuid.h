// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bulkhead::kvm {

struct CpuidEntry {
  std::uint32_t function = 0;
  std::uint32_t index = 0;
  bool indexed = false;  // ECX selects among several entries of one function
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// What the CPUID instruction answers. At most one entry per (function, index).
class CpuidTable {
 public:
  // KVM_MAX_CPUID_ENTRIES of every kernel since 5.11; more is refused by KVM.
  static constexpr std::uint32_t kMaxEntries = 256;

  CpuidTable() = default;
  explicit CpuidTable(std::vector<CpuidEntry> entries) : entries_(std::move(entries)) {}

  std::span<const CpuidEntry> entries() const { return entries_; }
  const CpuidEntry* find(std::uint32_t function, std::uint32_t index = 0) const;
  CpuidEntry* find(std::uint32_t function, std::uint32_t index = 0);
  // Replaces the entry of its function and index, or adds it.
  void put(const CpuidEntry& entry);
  void remove(std::uint32_t function);
  void remove(std::uint32_t function, std::uint32_t index);

 private:
  std::vector<CpuidEntry> entries_;
};

struct GuestCpu {
  std::uint32_t vcpu_id = 0;     // also the APIC id
  std::uint32_t vcpu_count = 1;  // one package, one thread per core
  std::uint32_t tsc_khz = 0;     // 0: not known; the guest calibrates
  bool tsc_deadline = false;     // Capability::kTscDeadlineTimer
  bool nested = false;           // let the guest see VMX or SVM
};

// One vCPU's table, from what System::supported_cpuid() offers.
CpuidTable make_guest_cpuid(const CpuidTable& supported, const GuestCpu& cpu);

}  // namespace bulkhead::kvm
