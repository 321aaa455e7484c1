// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bulkhead::kvm {

// The KVM_CAP_* numbers that Bulkhead asks for, under their kernel names. KVM_CHECK_EXTENSION
// answers 0 for one that the host does not know, so asking for a new one is always safe.
enum class Capability : std::uint32_t {
  kIrqchip = 0,
  kUserMemory = 3,
  kSetTssAddr = 4,
  kNrVcpus = 9,
  kNrMemslots = 10,
  kIrqRouting = 25,
  kIrqfd = 32,
  kPit2 = 33,
  kIoeventfd = 36,
  kSetIdentityMapAddr = 37,
  kAdjustClock = 39,
  kVcpuEvents = 41,
  kXsave = 55,
  kXcrs = 56,
  kTscControl = 60,
  kGetTscKhz = 61,
  kMaxVcpus = 66,
  kTscDeadlineTimer = 72,
  kSignalMsi = 77,
  kReadonlyMem = 81,
  kIoeventfdAnyLength = 122,
  kX2apicApi = 129,
  kImmediateExit = 136,
  kNestedState = 157,
  kExceptionPayload = 164,
  kManualDirtyLogProtect2 = 168,
  kX86UserSpaceMsr = 188,
  kX86MsrFilter = 189,
  kExitOnEmulationFailure = 204,
  kXsave2 = 208,
  kPmuCapability = 212,
  kX86TripleFaultEvent = 218,
  kMemoryFaultInfo = 232,
  kGuestMemfd = 234,
  kVmTypes = 235,
  kPreFaultMemory = 236,
  kX86ApicBusCyclesNs = 237,
  kGuestMemfdFlags = 244,
};

}  // namespace bulkhead::kvm
