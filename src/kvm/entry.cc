// SPDX-License-Identifier: Apache-2.0
#include "kvm/entry.h"

namespace bulkhead::kvm {

namespace {

constexpr std::uint64_t kCr0Pe = 1ULL << 0;
constexpr std::uint64_t kCr0Et = 1ULL << 4;
constexpr std::uint64_t kCr0Pg = 1ULL << 31;
constexpr std::uint64_t kCr4Pae = 1ULL << 5;
constexpr std::uint64_t kEferLme = 1ULL << 8;
constexpr std::uint64_t kEferLma = 1ULL << 10;
constexpr std::uint64_t kRflagsFixed = 1ULL << 1;

constexpr std::uint32_t kMsrMiscEnable = 0x1a0;
constexpr std::uint64_t kMiscEnableFastStrings = 1;

constexpr std::uint16_t kBootCs = 0x10;
constexpr std::uint16_t kBootDs = 0x18;
constexpr std::uint8_t kCodeType = 0xb;     // execute, read, accessed
constexpr std::uint8_t kDataType = 0x3;     // read, write, accessed
constexpr std::uint8_t kBusyTssType = 0xb;  // VM entry demands a busy TSS

Segment flat(std::uint16_t selector, std::uint8_t type) {
  return {.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1, .g = 1};
}

void set_data_segments(SpecialRegisters& special) {
  Segment data = flat(kBootDs, kDataType);
  data.db = 1;
  special.ds = special.es = special.fs = special.gs = special.ss = data;
  special.tr = {.limit = 0x67, .type = kBusyTssType, .present = 1};
}

}  // namespace

Result<void> prepare(const Vcpu& vcpu) {
  TRY(vcpu.set_machine_check_banks(1));
  Msr misc{.index = kMsrMiscEnable};
  TRY(vcpu.read_msrs({&misc, 1}));
  misc.value |= kMiscEnableFastStrings;
  return vcpu.write_msrs({&misc, 1});
}

Result<void> enter(const Vcpu& vcpu, const LongModeEntry& entry) {
  auto special = TRY(vcpu.special_registers());
  special.cs = flat(kBootCs, kCodeType);
  special.cs.l = 1;
  set_data_segments(special);
  special.gdt = {.base = entry.gdt.value(), .limit = entry.gdt_limit};
  special.idt = {};
  special.cr0 = kCr0Pe | kCr0Et | kCr0Pg;
  special.cr3 = entry.page_table.value();
  special.cr4 = kCr4Pae;
  special.efer = kEferLme | kEferLma;
  TRY(vcpu.set_special_registers(special));
  return vcpu.set_registers(
      {.rsi = entry.boot_params.value(), .rip = entry.rip.value(), .rflags = kRflagsFixed});
}

Result<void> enter(const Vcpu& vcpu, const ProtectedModeEntry& entry) {
  auto special = TRY(vcpu.special_registers());
  special.cs = flat(kBootCs, kCodeType);
  special.cs.db = 1;
  set_data_segments(special);
  special.gdt = {};
  special.idt = {};
  special.cr0 = kCr0Pe | kCr0Et;
  special.cr3 = 0;
  special.cr4 = 0;
  special.efer = 0;
  TRY(vcpu.set_special_registers(special));
  return vcpu.set_registers(
      {.rbx = entry.start_info.value(), .rip = entry.rip.value(), .rflags = kRflagsFixed});
}

}  // namespace bulkhead::kvm
