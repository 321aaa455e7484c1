// SPDX-License-Identifier: Apache-2.0
#include "kvm/exit.h"

#include <algorithm>
#include <cstring>

#include "kvm/abi.h"

namespace bulkhead::kvm {

namespace {

constexpr std::size_t kHeadSize = sizeof(kvm_run);
constexpr std::uint64_t kMaxStringBytes = kPageSize;  // KVM's page of string I/O data
constexpr std::uint32_t kMaxMmioBytes = 8;
constexpr std::size_t kMmioData = offsetof(kvm_run, mmio) + offsetof(decltype(kvm_run::mmio), data);

// A copy of a member: each field is read once, and the area needs no particular type.
template <class T>
T load(std::span<const std::byte> area, std::size_t offset) {
  T value;
  std::memcpy(&value, area.data() + offset, sizeof value);
  return value;
}

Exit decode_io(std::span<std::byte> area) {
  auto io = load<decltype(kvm_run::io)>(area, offsetof(kvm_run, io));
  bool size_valid = io.size == 1 || io.size == 2 || io.size == 4;
  std::uint64_t total = std::uint64_t{io.size} * io.count;
  // The data lies behind the fixed part, which it must not alias.
  if (!size_valid || total == 0 || total > kMaxStringBytes || io.data_offset < kHeadSize ||
      !range_fits(io.data_offset, total, area.size())) {
    return Unknown{KVM_EXIT_IO};
  }
  auto bytes = area.subspan(io.data_offset, total);
  if (io.direction == KVM_EXIT_IO_OUT) return PioOut{PortAddr(io.port), io.size, io.count, bytes};
  return PioIn{PortAddr(io.port), io.size, io.count, bytes};
}

Exit decode_mmio(std::span<std::byte> area) {
  auto mmio = load<decltype(kvm_run::mmio)>(area, offsetof(kvm_run, mmio));
  if (mmio.len == 0 || mmio.len > kMaxMmioBytes) return Unknown{KVM_EXIT_MMIO};
  auto bytes = area.subspan(kMmioData, mmio.len);
  if (mmio.is_write != 0) return MmioWrite{Gpa(mmio.phys_addr), bytes};
  return MmioRead{Gpa(mmio.phys_addr), bytes};
}

EmulationFailure decode_emulation_failure(std::span<const std::byte> area) {
  auto raw = load<decltype(kvm_run::emulation_failure)>(area, offsetof(kvm_run, emulation_failure));
  EmulationFailure failure;
  // ndata counts words from `flags` on: one for it, two for the instruction.
  if (raw.ndata < 3 || (raw.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) == 0) {
    return failure;
  }
  failure.instruction_size =
      static_cast<std::uint8_t>(std::min<std::size_t>(raw.insn_size, failure.instruction.size()));
  std::memcpy(failure.instruction.data(), raw.insn_bytes, failure.instruction_size);
  return failure;
}

Exit decode_internal_error(std::span<const std::byte> area) {
  auto raw = load<decltype(kvm_run::internal)>(area, offsetof(kvm_run, internal));
  if (raw.suberror == KVM_INTERNAL_ERROR_EMULATION) return decode_emulation_failure(area);
  return InternalError{raw.suberror, raw.ndata > 0 ? raw.data[0] : 0};
}

Exit decode_entry_failure(std::span<const std::byte> area) {
  auto raw = load<decltype(kvm_run::fail_entry)>(area, offsetof(kvm_run, fail_entry));
  return EntryFailed{raw.hardware_entry_failure_reason, raw.cpu};
}

Exit decode_memory_fault(std::span<const std::byte> area) {
  auto raw = load<abi::MemoryFaultExit>(area, offsetof(kvm_run, hw));
  return MemoryFault{Gpa(raw.gpa), raw.size, (raw.flags & abi::kMemoryFaultPrivate) != 0};
}

}  // namespace

Exit decode_exit(std::span<std::byte> area) {
  if (area.size() < kHeadSize) return Unknown{KVM_EXIT_UNKNOWN};
  auto reason = load<std::uint32_t>(area, offsetof(kvm_run, exit_reason));
  switch (reason) {
    case KVM_EXIT_IO:
      return decode_io(area);
    case KVM_EXIT_MMIO:
      return decode_mmio(area);
    case KVM_EXIT_HLT:
      return Halt{};
    case KVM_EXIT_SHUTDOWN:
      return Shutdown{};
    case KVM_EXIT_SYSTEM_EVENT:
      return SystemEvent{load<std::uint32_t>(area, offsetof(kvm_run, system_event))};
    case KVM_EXIT_INTERNAL_ERROR:
      return decode_internal_error(area);
    case KVM_EXIT_FAIL_ENTRY:
      return decode_entry_failure(area);
    case KVM_EXIT_INTR:
      return Interrupted{};
    case abi::kExitMemoryFault:
      return decode_memory_fault(area);
    default:
      return Unknown{reason};
  }
}

}  // namespace bulkhead::kvm
