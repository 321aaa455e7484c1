// SPDX-License-Identifier: Apache-2.0
#include "kvm/cpuid_policy.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace bulkhead::kvm {

namespace {

enum class Reg : std::uint8_t { kEax, kEbx, kEcx, kEdx };

struct HiddenBit {
  std::uint32_t function;
  std::uint32_t index;
  Reg reg;
  std::uint8_t number;
};

// Performance counters and branch records let a partition time its neighbours, and their state is
// not switched with the rest of it.
constexpr HiddenBit kMonitoring[] = {
    {0x1, 0, Reg::kEcx, 2},          // DTES64
    {0x1, 0, Reg::kEcx, 15},         // PDCM
    {0x1, 0, Reg::kEdx, 21},         // DS
    {0x7, 0, Reg::kEbx, 12},         // RDT-M: cache monitoring is the host's
    {0x7, 0, Reg::kEbx, 15},         // RDT-A: so is its allocation
    {0x7, 0, Reg::kEbx, 25},         // Processor Trace
    {0x7, 0, Reg::kEdx, 19},         // architectural LBR
    {0x7, 1, Reg::kEax, 8},          // ArchPerfmonExt, leaf 0x23
    {0x80000001, 0, Reg::kEcx, 10},  // IBS
    {0x80000001, 0, Reg::kEcx, 15},  // LWP
    {0x80000001, 0, Reg::kEcx, 23},  // PerfCtrExtCore
    {0x80000001, 0, Reg::kEcx, 24},  // PerfCtrExtNB
    {0x80000001, 0, Reg::kEcx, 28},  // PerfCtrExtLLC
};

// Waiting instructions that keep a core without an exit, out of the reach of the host's scheduler.
constexpr HiddenBit kWaiting[] = {
    {0x1, 0, Reg::kEcx, 3},          // MONITOR, MWAIT
    {0x7, 0, Reg::kEcx, 5},          // WAITPKG: UMWAIT, TPAUSE
    {0x80000001, 0, Reg::kEcx, 29},  // MONITORX, MWAITX
};

// Aborting transactions are a clean timer for cache attacks, and leak by themselves (TAA).
constexpr HiddenBit kTransactions[] = {
    {0x7, 0, Reg::kEbx, 4},   // HLE
    {0x7, 0, Reg::kEbx, 11},  // RTM
};

// Enclaves need pages of the host's enclave memory, which a partition is not given.
constexpr HiddenBit kEnclaves[] = {
    {0x7, 0, Reg::kEbx, 2},   // SGX
    {0x7, 0, Reg::kEcx, 30},  // SGX_LC
};

// MPX is withdrawn: Linux 5.6 dropped it, and its registers would only have to be saved.
constexpr HiddenBit kMpx[] = {{0x7, 0, Reg::kEbx, 14}};

// AMX state has to be asked for (arch_prctl) before a vCPU exists, and is 8 KiB of each snapshot.
constexpr HiddenBit kAmx[] = {
    {0x7, 0, Reg::kEdx, 22},  // AMX-BF16
    {0x7, 0, Reg::kEdx, 24},  // AMX-TILE
    {0x7, 0, Reg::kEdx, 25},  // AMX-INT8
    {0x7, 1, Reg::kEax, 21},  // AMX-FP16
    {0x7, 1, Reg::kEdx, 8},   // AMX-COMPLEX
};

// Memory types are firmware's business: a partition's memory is write-back throughout.
constexpr HiddenBit kMtrr[] = {{0x1, 0, Reg::kEdx, 12}, {0x80000001, 0, Reg::kEdx, 12}};

// A hypervisor in a partition multiplies what the host kernel has to emulate correctly.
constexpr HiddenBit kNested[] = {
    {0x1, 0, Reg::kEcx, 5},          // VMX
    {0x80000001, 0, Reg::kEcx, 2},   // SVM
    {0x80000001, 0, Reg::kEcx, 12},  // SKINIT
};

// The leaves of what is hidden above, and of what only the host may steer.
constexpr std::uint32_t kHiddenLeaves[] = {
    0xa,         // performance counters
    0xf,         // cache monitoring
    0x10,        // cache allocation
    0x12,        // SGX
    0x14,        // Processor Trace
    0x1c,        // LBR
    0x1d,        // AMX tiles
    0x1e,        // AMX multiplier
    0x23,        // performance counters, extended
    0x8000001b,  // IBS
    0x8000001c,  // LWP
    0x8000001f,  // SEV: a partition of that kind gets its own table
    0x80000020,  // cache monitoring and allocation
    0x80000022,  // performance counters, extended
    0x80000026,  // topology: the host's
};

// XCR0 and XSS components of the above: BNDREGS, BNDCSR; trace; LBR; tile configuration and data.
constexpr std::uint64_t kHiddenComponents =
    (1ULL << 3) | (1ULL << 4) | (1ULL << 8) | (1ULL << 15) | (1ULL << 17) | (1ULL << 18);
constexpr std::uint32_t kXsave = 0xd;
constexpr std::uint32_t kLegacyXsaveBytes = 512 + 64;

std::uint32_t& select(CpuidEntry& entry, Reg reg) {
  switch (reg) {
    case Reg::kEax:
      return entry.eax;
    case Reg::kEbx:
      return entry.ebx;
    case Reg::kEcx:
      return entry.ecx;
    case Reg::kEdx:
      break;
  }
  return entry.edx;
}

template <std::size_t N>
void hide(CpuidTable& table, const HiddenBit (&bits)[N]) {
  for (const HiddenBit& hidden : bits) {
    CpuidEntry* entry = table.find(hidden.function, hidden.index);
    if (entry != nullptr) select(*entry, hidden.reg) &= ~(1U << hidden.number);
  }
}

// SDM "CPUID leaf 0DH": the area's size follows from the components in it. EBX, the size for the
// XCR0 in force, is computed by KVM.
std::uint32_t xsave_bytes(const CpuidTable& table, std::uint32_t components) {
  std::uint32_t size = kLegacyXsaveBytes;
  for (std::uint32_t index = 2; index < 32; ++index) {
    const CpuidEntry* component = table.find(kXsave, index);
    if (component == nullptr || (components >> index & 1) == 0) continue;
    size = std::max(size, component->ebx + component->eax);  // offset, length
  }
  return size;
}

void hide_xsave_components(CpuidTable& table) {
  for (std::uint32_t index = 2; index < 63; ++index) {
    if ((kHiddenComponents >> index & 1) != 0) table.remove(kXsave, index);
  }
  if (CpuidEntry* supervisor = table.find(kXsave, 1)) {
    supervisor->ecx &= ~static_cast<std::uint32_t>(kHiddenComponents);
  }
  if (CpuidEntry* user = table.find(kXsave, 0)) {
    user->eax &= ~static_cast<std::uint32_t>(kHiddenComponents);
    user->ecx = xsave_bytes(table, user->eax);
  }
}

}  // namespace

bool is_amd(const CpuidTable& table) {
  const CpuidEntry* leaf = table.find(0);
  if (leaf == nullptr) return false;
  bool amd = leaf->ebx == 0x68747541 && leaf->edx == 0x69746e65 && leaf->ecx == 0x444d4163;
  bool hygon = leaf->ebx == 0x6f677948 && leaf->edx == 0x6e65476e && leaf->ecx == 0x656e6975;
  return amd || hygon;
}

void hide_features(CpuidTable& table, bool keep_nested) {
  hide(table, kMonitoring);
  hide(table, kWaiting);
  hide(table, kTransactions);
  hide(table, kEnclaves);
  hide(table, kMpx);
  hide(table, kAmx);
  hide(table, kMtrr);
  for (std::uint32_t function : kHiddenLeaves) table.remove(function);
  if (!keep_nested) {
    hide(table, kNested);
    table.remove(0x8000000a);
  }
  hide_xsave_components(table);
}

}  // namespace bulkhead::kvm
