// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <memory>

#include "base/mapping.h"
#include "kvm/entry.h"
#include "kvm/system.h"

// For tests: a guest of one vCPU and 2 MiB of RAM from address 0, running a few bytes of code.

namespace bulkhead::kvm {

inline constexpr std::uint64_t kTinyRam = 2 * kMiB;
inline constexpr Gpa kTinyCode{0x8000};
inline constexpr Gpa kTinyGdt{0x500};
inline constexpr Gpa kTinyTables{0x10000};

class TinyGuest {
 public:
  TinyGuest(System opened, Vm created, Mapping ram)
      : system(std::move(opened)), vm(std::move(created)), ram_(std::move(ram)) {}

  // Null, with the reason printed, where there is no usable /dev/kvm.
  static std::unique_ptr<TinyGuest> create(bool with_irqchip = false) {
    auto opened = System::open();
    if (!opened) {
      std::printf("[ skipped ] %s\n", opened.error().what);
      return nullptr;
    }
    auto created = opened->create_vm();
    EXPECT_TRUE(created);
    auto ram = Mapping::create({.size_bytes = kTinyRam,
                                .protection = PROT_READ | PROT_WRITE,
                                .flags = MAP_PRIVATE | MAP_ANONYMOUS});
    EXPECT_TRUE(ram);
    EXPECT_TRUE(!with_irqchip || created->create_irqchip());
    auto guest =
        std::make_unique<TinyGuest>(std::move(*opened), std::move(*created), std::move(*ram));
    EXPECT_TRUE(guest->vm.set_slot(
        {.id = 0, .base = Gpa(0), .size_bytes = kTinyRam, .host = guest->host(Gpa(0))}));
    return guest;
  }

  Vcpu add_vcpu(std::uint32_t id = 0) {
    auto vcpu = vm.create_vcpu(id);
    EXPECT_TRUE(vcpu);
    auto supported = system.supported_cpuid();
    EXPECT_TRUE(supported);
    auto cpuid = make_guest_cpuid(*supported, {.vcpu_id = id, .vcpu_count = 2});
    EXPECT_TRUE(vcpu->set_cpuid(cpuid));
    return std::move(*vcpu);
  }

  Hva host(Gpa gpa) { return Hva(reinterpret_cast<std::uint64_t>(ram_.data() + gpa.value())); }
  std::byte* at(Gpa gpa) { return ram_.data() + gpa.value(); }

  void write(Gpa gpa, std::initializer_list<int> bytes) {
    std::byte* out = at(gpa);
    for (int byte : bytes) *out++ = static_cast<std::byte>(byte);
  }

  void write64(Gpa gpa, std::uint64_t value) { std::memcpy(at(gpa), &value, sizeof value); }

  // Maps the first GiB one to one.
  LongModeEntry long_mode() {
    constexpr std::uint64_t kPresentWritable = 3, kLarge = 0x80;
    write64(kTinyTables, (kTinyTables + 0x1000).value() | kPresentWritable);
    write64(kTinyTables + 0x1000, (kTinyTables + 0x2000).value() | kPresentWritable);
    for (std::uint64_t i = 0; i < 512; ++i) {
      write64(kTinyTables + 0x2000 + i * 8, i * 2 * kMiB | kPresentWritable | kLarge);
    }
    std::memcpy(at(kTinyGdt), kLongModeGdt.data(), sizeof kLongModeGdt);
    return {.rip = kTinyCode,
            .boot_params = Gpa(0x7000),
            .page_table = kTinyTables,
            .gdt = kTinyGdt,
            .gdt_limit = kLongModeGdtLimit};
  }

  System system;
  Vm vm;

 private:
  Mapping ram_;
};

}  // namespace bulkhead::kvm
