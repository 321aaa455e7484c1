// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/address.h"

// Why a vCPU came back from the guest. The spans point into the vCPU's kvm_run area, and are valid
// until its next run(); the numbers are the guest's, the shapes have been checked.

namespace bulkhead::kvm {

// `count` accesses of `size` bytes (1, 2 or 4) to one port, in order: bytes.size() == size * count.
// More than one is a string instruction (INS, OUTS with REP); KVM bounds it to a page.
struct PioOut {
  PortAddr port;
  std::uint8_t size = 0;
  std::uint32_t count = 0;
  std::span<const std::byte> bytes;
};

// The monitor fills `bytes`; the guest gets them at the next run().
struct PioIn {
  PortAddr port;
  std::uint8_t size = 0;
  std::uint32_t count = 0;
  std::span<std::byte> bytes;
};

// 1 to 8 bytes. A wider or page-crossing access comes as several exits.
struct MmioRead {
  Gpa gpa;
  std::span<std::byte> bytes;
};

// Also a store to a read-only slot.
struct MmioWrite {
  Gpa gpa;
  std::span<const std::byte> bytes;
};

// HLT, which only a vCPU without an in-kernel LAPIC reports.
struct Halt {};

// Triple fault.
struct Shutdown {};

struct SystemEvent {
  std::uint32_t type = 0;  // KVM_SYSTEM_EVENT_*: 1 shutdown, 2 reset, 3 crash
};

// An instruction that KVM cannot emulate. Its bytes are what KVM saw: the guest may have changed
// them since. RIP still points at it.
struct EmulationFailure {
  std::uint8_t instruction_size = 0;  // 0: not known
  std::array<std::byte, 15> instruction{};
};

struct InternalError {
  std::uint32_t suberror = 0;  // KVM_INTERNAL_ERROR_*: 2 simultaneous exceptions, 3 delivery, …
  std::uint64_t detail = 0;    // the first word of KVM's data, usually the hardware's exit reason
};

// The processor refused the guest's state.
struct EntryFailed {
  std::uint64_t reason = 0;
  std::uint32_t cpu = 0;
};

// The guest touched [gpa, gpa + size_bytes) and the host cannot give it memory there. Linux 6.8;
// older hosts fail run() with EFAULT and no address.
struct MemoryFault {
  Gpa gpa;
  std::uint64_t size_bytes = 0;
  bool is_private = false;
};

// A kick, a signal, or a SIPI not yet there. Look at what has been requested, then run again.
struct Interrupted {};

// An exit that this monitor never enables, or one whose description makes no sense.
struct Unknown {
  std::uint32_t reason = 0;  // KVM_EXIT_*
};

using Exit =
    std::variant<PioOut, PioIn, MmioRead, MmioWrite, Halt, Shutdown, SystemEvent, EmulationFailure,
                 InternalError, EntryFailed, MemoryFault, Interrupted, Unknown>;

// Decodes a kvm_run area, all of whose mapping is `run_area`. The kernel wrote it, but the lengths
// and offsets in it are checked against the mapping before anything is formed from them.
Exit decode_exit(std::span<std::byte> run_area);

}  // namespace bulkhead::kvm
