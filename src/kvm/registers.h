// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

// Register files as KVM lays them out (struct kvm_regs, kvm_sregs: asserted in abi.h).

namespace bulkhead::kvm {

struct Registers {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0;
  std::uint64_t rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0;
  std::uint64_t r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 0;
};

struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;  // in bytes, whatever `g` says
  std::uint16_t selector = 0;
  std::uint8_t type = 0;
  std::uint8_t present = 0, dpl = 0, db = 0, s = 0, l = 0, g = 0, avl = 0;
  std::uint8_t unusable = 0;
  std::uint8_t padding = 0;
};

struct DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;
  std::array<std::uint16_t, 3> padding{};
};

struct SpecialRegisters {
  Segment cs, ds, es, fs, gs, ss;
  Segment tr, ldt;
  DescriptorTable gdt, idt;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  std::uint64_t efer = 0;
  std::uint64_t apic_base = 0;
  std::array<std::uint64_t, 4> interrupt_bitmap{};
};

struct Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
};

// KVM_MP_STATE_*
enum class MpState : std::uint32_t {
  kRunnable = 0,
  kUninitialized = 1,  // an application processor before INIT
  kInitReceived = 2,
  kHalted = 3,
  kSipiReceived = 4,
};

}  // namespace bulkhead::kvm
