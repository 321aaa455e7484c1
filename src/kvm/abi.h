// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "kvm/registers.h"

// Private to src/kvm: the kernel's interface as it is. <linux/kvm.h> serves, with two exceptions
// that are defined here. Its structures with a flexible array are too large in C++ (the empty
// member of __DECLARE_FLEX_ARRAY takes a byte there), so that ioctl numbers built from their size
// are wrong and answer EINVAL. And Debian 12's, of Linux 6.1, does not know what came later.

namespace bulkhead::kvm::abi {

struct CpuidHeader {
  std::uint32_t nent = 0;
  std::uint32_t padding = 0;
};

struct MsrsHeader {
  std::uint32_t nmsrs = 0;
  std::uint32_t pad = 0;
};

struct MsrListHeader {
  std::uint32_t nmsrs = 0;
};

struct RoutingHeader {
  std::uint32_t nr = 0;
  std::uint32_t flags = 0;
};

struct XsaveArea {
  std::array<std::uint32_t, 1024> region;
};

// Linux 6.11.
struct PreFaultMemory {
  std::uint64_t gpa = 0;
  std::uint64_t size = 0;
  std::uint64_t flags = 0;
  std::array<std::uint64_t, 5> padding{};
};

// Linux 6.8: what follows the head of kvm_run on KVM_EXIT_MEMORY_FAULT.
struct MemoryFaultExit {
  std::uint64_t flags = 0;
  std::uint64_t gpa = 0;
  std::uint64_t size = 0;
};
inline constexpr std::uint32_t kExitMemoryFault = 39;
inline constexpr std::uint64_t kMemoryFaultPrivate = 1ULL << 3;

inline constexpr unsigned long kGetMsrIndexList = _IOWR(KVMIO, 0x02, MsrListHeader);
inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
inline constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, RoutingHeader);
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, MsrsHeader);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, MsrsHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveArea);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveArea);
inline constexpr unsigned long kGetXsave2 = _IOR(KVMIO, 0xcf, XsaveArea);
inline constexpr unsigned long kPreFaultMemory = _IOWR(KVMIO, 0xd5, PreFaultMemory);

// The kernel's own values, as a C compiler has them.
static_assert(kGetMsrIndexList == 0xc004ae02);
static_assert(kGetSupportedCpuid == 0xc008ae05);
static_assert(kSetGsiRouting == 0x4008ae6a);
static_assert(kGetMsrs == 0xc008ae88);
static_assert(kSetMsrs == 0x4008ae89);
static_assert(kSetCpuid2 == 0x4008ae90);
static_assert(kGetXsave == 0x9000aea4);
static_assert(kSetXsave == 0x5000aea5);
static_assert(kGetXsave2 == 0x9000aecf);
static_assert(kPreFaultMemory == 0xc040aed5);
static_assert(KVM_SET_USER_MEMORY_REGION == 0x4020ae46 && KVM_SIGNAL_MSI == 0x4020aea5);
static_assert(KVM_IRQFD == 0x4020ae76 && KVM_IOEVENTFD == 0x4040ae79);

static_assert(sizeof(kvm_cpuid_entry2) == 40 && sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_irq_routing_entry) == 48);
static_assert(sizeof(kvm_userspace_memory_region) == 32 && sizeof(kvm_enable_cap) == 104);
static_assert(sizeof(kvm_irqchip) == 520 && sizeof(kvm_pit_state2) == 112);
static_assert(sizeof(kvm_lapic_state) == 1024 && sizeof(kvm_xcrs) == 392);
static_assert(sizeof(kvm_vcpu_events) == 64 && sizeof(kvm_debugregs) == 128);
static_assert(sizeof(kvm_run) == 2352 && offsetof(kvm_run, exit_reason) == 8);
static_assert(offsetof(kvm_run, immediate_exit) == 1 && offsetof(kvm_run, io) == 32);
static_assert(sizeof(Registers) == sizeof(kvm_regs) && sizeof(Registers) == 144);
static_assert(offsetof(Registers, rip) == offsetof(kvm_regs, rip));
static_assert(sizeof(Segment) == sizeof(kvm_segment) && sizeof(Segment) == 24);
static_assert(offsetof(Segment, unusable) == offsetof(kvm_segment, unusable));
static_assert(sizeof(SpecialRegisters) == sizeof(kvm_sregs) && sizeof(SpecialRegisters) == 312);
static_assert(offsetof(SpecialRegisters, cr0) == offsetof(kvm_sregs, cr0));
static_assert(offsetof(SpecialRegisters, apic_base) == offsetof(kvm_sregs, apic_base));

// ioctl(2) with a number or a pointer, as a Result.
inline Result<int> call(const Fd& fd, unsigned long request, unsigned long value,
                        const char* what) {
  int answer = ::ioctl(fd.get(), request, value);
  if (answer < 0) return os_error(what);
  return answer;
}

inline Result<int> call(const Fd& fd, unsigned long request, const void* argument,
                        const char* what) {
  int answer = ::ioctl(fd.get(), request, argument);
  if (answer < 0) return os_error(what);
  return answer;
}

}  // namespace bulkhead::kvm::abi
