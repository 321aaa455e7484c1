// SPDX-License-Identifier: Apache-2.0
#include "kvm/abi.h"

#include <gtest/gtest.h>

#include "kvm/capability.h"

namespace bulkhead::kvm {
namespace {

struct Known {
  Capability ours;
  std::uint32_t kernel;
};

// The rest is of Linux after 6.1, whose header is the oldest that Bulkhead builds with.
constexpr Known kKnown[] = {
    {Capability::kIrqchip, KVM_CAP_IRQCHIP},
    {Capability::kUserMemory, KVM_CAP_USER_MEMORY},
    {Capability::kSetTssAddr, KVM_CAP_SET_TSS_ADDR},
    {Capability::kNrVcpus, KVM_CAP_NR_VCPUS},
    {Capability::kNrMemslots, KVM_CAP_NR_MEMSLOTS},
    {Capability::kIrqRouting, KVM_CAP_IRQ_ROUTING},
    {Capability::kIrqfd, KVM_CAP_IRQFD},
    {Capability::kPit2, KVM_CAP_PIT2},
    {Capability::kIoeventfd, KVM_CAP_IOEVENTFD},
    {Capability::kSetIdentityMapAddr, KVM_CAP_SET_IDENTITY_MAP_ADDR},
    {Capability::kAdjustClock, KVM_CAP_ADJUST_CLOCK},
    {Capability::kVcpuEvents, KVM_CAP_VCPU_EVENTS},
    {Capability::kXsave, KVM_CAP_XSAVE},
    {Capability::kXcrs, KVM_CAP_XCRS},
    {Capability::kTscControl, KVM_CAP_TSC_CONTROL},
    {Capability::kGetTscKhz, KVM_CAP_GET_TSC_KHZ},
    {Capability::kMaxVcpus, KVM_CAP_MAX_VCPUS},
    {Capability::kTscDeadlineTimer, KVM_CAP_TSC_DEADLINE_TIMER},
    {Capability::kSignalMsi, KVM_CAP_SIGNAL_MSI},
    {Capability::kReadonlyMem, KVM_CAP_READONLY_MEM},
    {Capability::kIoeventfdAnyLength, KVM_CAP_IOEVENTFD_ANY_LENGTH},
    {Capability::kX2apicApi, KVM_CAP_X2APIC_API},
    {Capability::kImmediateExit, KVM_CAP_IMMEDIATE_EXIT},
    {Capability::kNestedState, KVM_CAP_NESTED_STATE},
    {Capability::kExceptionPayload, KVM_CAP_EXCEPTION_PAYLOAD},
    {Capability::kManualDirtyLogProtect2, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2},
    {Capability::kX86UserSpaceMsr, KVM_CAP_X86_USER_SPACE_MSR},
    {Capability::kX86MsrFilter, KVM_CAP_X86_MSR_FILTER},
    {Capability::kExitOnEmulationFailure, KVM_CAP_EXIT_ON_EMULATION_FAILURE},
    {Capability::kXsave2, KVM_CAP_XSAVE2},
    {Capability::kPmuCapability, KVM_CAP_PMU_CAPABILITY},
    {Capability::kX86TripleFaultEvent, KVM_CAP_X86_TRIPLE_FAULT_EVENT},
};

TEST(Abi, CapabilitiesHaveTheKernelsNumbers) {
  for (const Known& known : kKnown) EXPECT_EQ(static_cast<std::uint32_t>(known.ours), known.kernel);
}

TEST(Abi, CallsThatNeedNoOwnDefinitionHaveTheKernelsNumbers) {
  EXPECT_EQ(KVM_RUN, 0xae80u);
  EXPECT_EQ(KVM_GET_REGS, 0x8090ae81u);
  EXPECT_EQ(KVM_SET_SREGS, 0x4138ae84u);
  EXPECT_EQ(KVM_GET_IRQCHIP, 0xc208ae62u);
  EXPECT_EQ(KVM_SET_IRQCHIP, 0x8208ae63u);
  EXPECT_EQ(KVM_SET_PIT2, 0x4070aea0u);
  EXPECT_EQ(KVM_GET_LAPIC, 0x8400ae8eu);
  EXPECT_EQ(KVM_SET_XCRS, 0x4188aea7u);
  EXPECT_EQ(KVM_SET_VCPU_EVENTS, 0x4040aea0u);
  EXPECT_EQ(KVM_SET_DEBUGREGS, 0x4080aea2u);
  EXPECT_EQ(KVM_ENABLE_CAP, 0x4068aea3u);
  EXPECT_EQ(KVM_GET_DIRTY_LOG, 0x4010ae42u);
  EXPECT_EQ(KVM_CLEAR_DIRTY_LOG, 0xc018aec0u);
  EXPECT_EQ(KVM_SET_CLOCK, 0x4030ae7bu);
}

TEST(Abi, CallReportsErrno) {
  auto refused = abi::call(Fd(), KVM_GET_API_VERSION, 0UL, "no descriptor");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().os_errno, EBADF);
  EXPECT_STREQ(refused.error().what, "no descriptor");
}

}  // namespace
}  // namespace bulkhead::kvm
