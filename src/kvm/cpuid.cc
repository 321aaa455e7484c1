// SPDX-License-Identifier: Apache-2.0
#include "kvm/cpuid.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kvm/cpuid_policy.h"

namespace bulkhead::kvm {

namespace {

constexpr std::uint32_t kSignature = 0x40000000;
constexpr std::uint32_t kFeatures = 0x40000001;
constexpr std::uint32_t kFrequencies = 0x40000010;
constexpr std::uint32_t kApicBusKhz = 1'000'000;  // KVM's APIC timer ticks once a nanosecond
constexpr std::uint32_t kLevelSmt = 1;
constexpr std::uint32_t kLevelCore = 2;

constexpr std::uint32_t bit(unsigned number) {
  return 1U << number;
}

void set_field(std::uint32_t& word, unsigned shift, unsigned width, std::uint32_t value) {
  std::uint32_t mask = (bit(width) - 1) << shift;
  word = (word & ~mask) | ((value << shift) & mask);
}

void set_bit(std::uint32_t& word, unsigned number, bool value) {
  set_field(word, number, 1, value ? 1 : 0);
}

std::uint32_t max_leaf(const CpuidTable& table, std::uint32_t range) {
  const CpuidEntry* entry = table.find(range);
  return entry == nullptr ? 0 : entry->eax;
}

// APIC ids have this many bits below the package's: room for a power of two of processors.
unsigned apic_id_bits(const GuestCpu& cpu) {
  return static_cast<unsigned>(std::bit_width(std::max(cpu.vcpu_count, 1U) - 1));
}

// SDM "CPUID leaf 01H", APM 3 appendix E.3.2.
void set_identity(CpuidTable& table, const GuestCpu& cpu) {
  CpuidEntry* leaf = table.find(1);
  if (leaf == nullptr) return;
  set_field(leaf->ebx, 24, 8, cpu.vcpu_id);
  set_field(leaf->ebx, 16, 8, cpu.vcpu_count);
  set_bit(leaf->edx, 28, cpu.vcpu_count > 1);  // HTT: EBX[23:16] counts
  set_bit(leaf->ecx, 31, true);                // the guest may know that it is one
  set_bit(leaf->ecx, 24, cpu.tsc_deadline);    // KVM has it by capability, not by this table
}

// SDM "CPUID leaf 0BH", "1FH": threads of a core, then cores of the package.
void set_extended_topology(CpuidTable& table, const GuestCpu& cpu) {
  for (std::uint32_t function : {0xbU, 0x1fU}) {
    table.remove(function);
    if (max_leaf(table, 0) < function) continue;
    CpuidEntry level{.function = function, .index = 0, .indexed = true};
    level.edx = cpu.vcpu_id;
    level.ebx = 1;
    level.ecx = (kLevelSmt << 8) | 0;
    table.put(level);
    level.index = 1;
    level.eax = apic_id_bits(cpu);
    level.ebx = cpu.vcpu_count;
    level.ecx = (kLevelCore << 8) | 1;
    table.put(level);
    // The end of the list.
    table.put({.function = function, .index = 2, .indexed = true, .ecx = 2, .edx = cpu.vcpu_id});
  }
}

// SDM "CPUID leaf 04H", APM 3 "8000_001D": each core has its L1 and L2, all share the L3.
// EAX[31:26] is Intel's count of cores; AMD reserves it.
void set_caches(CpuidTable& table, const GuestCpu& cpu) {
  constexpr std::uint32_t kMaxCaches = 16;
  std::uint32_t all_ids = bit(apic_id_bits(cpu)) - 1;
  for (std::uint32_t function : {0x4U, 0x8000001dU}) {
    for (std::uint32_t index = 0; index < kMaxCaches; ++index) {
      CpuidEntry* cache = table.find(function, index);
      if (cache == nullptr || (cache->eax & 0x1f) == 0) break;
      std::uint32_t level = (cache->eax >> 5) & 7;
      set_field(cache->eax, 14, 12, level >= 3 ? all_ids : 0);
      if (function == 4) set_field(cache->eax, 26, 6, all_ids);
    }
  }
}

// APM 3 appendix E.4: "8000_0001", "8000_0008", "8000_001E".
void set_amd_topology(CpuidTable& table, const GuestCpu& cpu) {
  if (!is_amd(table)) return;
  if (CpuidEntry* leaf = table.find(0x80000001)) {
    set_bit(leaf->ecx, 1, cpu.vcpu_count > 1);  // CmpLegacy: HTT means cores
  }
  if (CpuidEntry* leaf = table.find(0x80000008)) {
    set_field(leaf->ecx, 0, 8, cpu.vcpu_count - 1);
    set_field(leaf->ecx, 12, 4, apic_id_bits(cpu));
  }
  if (CpuidEntry* leaf = table.find(0x8000001e)) {
    leaf->eax = cpu.vcpu_id;         // extended APIC id
    leaf->ebx = cpu.vcpu_id & 0xff;  // core id; one thread per core
    leaf->ecx = 0;                   // one node, number 0
    leaf->edx = 0;
  }
}

// Documentation/virt/kvm/x86/cpuid.rst; leaf 0x40000010 is VMware's, which guests look for under
// any hypervisor.
void set_hypervisor(CpuidTable& table, const GuestCpu& cpu) {
  // These features need answers from user space, which does not give them.
  constexpr std::uint32_t kUserSpaceFeatures =
      bit(15) | bit(16) | bit(17);  // MSI_EXT_DEST_ID, HC_MAP_GPA_RANGE, MIGRATION_CONTROL
  CpuidEntry signature{.function = kSignature,
                       .eax = cpu.tsc_khz != 0 ? kFrequencies : kFeatures,
                       .ebx = 0x4b4d564b,   // "KVMK"
                       .ecx = 0x564b4d56,   // "VMKV"
                       .edx = 0x0000004d};  // "M"
  table.put(signature);
  if (CpuidEntry* features = table.find(kFeatures)) {
    features->eax &= ~kUserSpaceFeatures;
  }
  if (cpu.tsc_khz != 0) {
    table.put({.function = kFrequencies, .eax = cpu.tsc_khz, .ebx = kApicBusKhz});
  }
}

}  // namespace

const CpuidEntry* CpuidTable::find(std::uint32_t function, std::uint32_t index) const {
  auto found = std::ranges::find_if(entries_, [&](const CpuidEntry& entry) {
    return entry.function == function && (!entry.indexed || entry.index == index);
  });
  return found == entries_.end() ? nullptr : &*found;
}

CpuidEntry* CpuidTable::find(std::uint32_t function, std::uint32_t index) {
  return const_cast<CpuidEntry*>(std::as_const(*this).find(function, index));
}

void CpuidTable::put(const CpuidEntry& entry) {
  if (CpuidEntry* present = find(entry.function, entry.index)) {
    *present = entry;
  } else {
    entries_.push_back(entry);
  }
}

void CpuidTable::remove(std::uint32_t function) {
  std::erase_if(entries_, [&](const CpuidEntry& entry) { return entry.function == function; });
}

void CpuidTable::remove(std::uint32_t function, std::uint32_t index) {
  std::erase_if(entries_, [&](const CpuidEntry& entry) {
    return entry.function == function && entry.index == index;
  });
}

CpuidTable make_guest_cpuid(const CpuidTable& supported, const GuestCpu& cpu) {
  CpuidTable table = supported;
  hide_features(table, cpu.nested);
  set_identity(table, cpu);
  set_extended_topology(table, cpu);
  set_caches(table, cpu);
  set_amd_topology(table, cpu);
  set_hypervisor(table, cpu);
  return table;
}

}  // namespace bulkhead::kvm
