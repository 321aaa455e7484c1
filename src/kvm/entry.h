// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "base/address.h"
#include "base/result.h"
#include "kvm/vcpu.h"

// How processors start. The boot processor is sent to the kernel's entry; application processors
// wait for INIT and SIPI, which the in-kernel local APICs deliver.

namespace bulkhead::kvm {

// Linux Documentation/arch/x86/boot.rst "64-bit Boot Protocol": paging on with the loaded range
// mapped one to one, CS 0x10, DS, ES and SS 0x18 in the loaded GDT, interrupts off.
struct LongModeEntry {
  Gpa rip;
  Gpa boot_params;  // RSI
  Gpa page_table;   // CR3: four levels
  Gpa gdt;
  std::uint16_t gdt_limit = 0;  // bytes - 1
};

// Xen's docs/misc/pvh: 32-bit flat segments, paging off.
struct ProtectedModeEntry {
  Gpa rip;
  Gpa start_info;  // EBX
};

// The table that the loader writes at LongModeEntry::gdt: flat code at 0x10, flat data at 0x18.
inline constexpr std::array<std::uint64_t, 4> kLongModeGdt = {
    0, 0,
    0x00af9b000000ffff,  // L, present, ring 0, execute/read, accessed
    0x00cf93000000ffff,  // present, ring 0, read/write, accessed
};
inline constexpr std::uint16_t kLongModeGdtLimit = sizeof kLongModeGdt - 1;

// What firmware leaves behind in every processor, the application processors too (INIT keeps it):
// fast string operations are on, without which Linux thinks that firmware found them defective.
// And one bank of machine checks, not KVM's 32: none is ever reported, and Linux sets up each.
// After set_cpuid().
Result<void> prepare(const Vcpu& vcpu);

Result<void> enter(const Vcpu& vcpu, const LongModeEntry& entry);
Result<void> enter(const Vcpu& vcpu, const ProtectedModeEntry& entry);

}  // namespace bulkhead::kvm
