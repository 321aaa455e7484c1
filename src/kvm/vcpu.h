// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "kvm/cpuid.h"
#include "kvm/exit.h"
#include "kvm/registers.h"

namespace bulkhead::kvm {

// A virtual processor. One thread runs it and calls everything else here, but request_exit().
// Vcpu 0 starts runnable; with an in-kernel irqchip the others wait for INIT and SIPI in run().
class Vcpu {
 public:
  Vcpu(Vcpu&&) noexcept = default;
  Vcpu& operator=(Vcpu&&) noexcept = default;

  // Enters the guest until something needs the monitor. Allocates nothing. Interrupted takes the
  // pending exit request with it: check what was requested after it, then run again.
  Result<Exit> run();
  // Completes the instruction of the last PIO or MMIO exit, without entering the guest. Repeat
  // until it answers Interrupted (a wide access has several parts) before save().
  Result<Exit> finish_exit();
  // The present or the next run() answers Interrupted at once. From any thread, or a signal
  // handler. A guest that is running does not notice it: see kick.h for the signal.
  void request_exit() const;

  std::uint32_t id() const { return id_; }

  Result<void> set_cpuid(const CpuidTable& table) const;
  Result<Registers> registers() const;
  Result<void> set_registers(const Registers& registers) const;
  Result<SpecialRegisters> special_registers() const;
  Result<void> set_special_registers(const SpecialRegisters& registers) const;
  // Fills in the values of `msrs`, all of which must exist.
  Result<void> read_msrs(std::span<Msr> msrs) const;
  Result<void> write_msrs(std::span<const Msr> msrs) const;
  Result<MpState> mp_state() const;
  Result<void> set_mp_state(MpState state) const;
  Result<std::uint32_t> tsc_khz() const;
  Result<void> set_tsc_khz(std::uint32_t khz) const;

  // How many machine-check banks the guest finds. Before it runs.
  Result<void> set_machine_check_banks(std::uint8_t count) const;

  // Queues an external interrupt: only for a VM without an in-kernel irqchip.
  Result<void> interrupt(std::uint8_t vector) const;
  Result<void> nmi() const;
  // Tells the guest's soft-lockup watchdog, by kvmclock, that it was stopped on purpose.
  Result<void> announce_pause() const;
  // Puts [base, base + size_bytes) into the nested page tables (Linux 6.11; kUnsupported before).
  Result<void> prefault(Gpa base, std::uint64_t size_bytes) const;

  // The whole architectural state, with the MSRs of System::saved_msrs(): an opaque, versioned
  // blob. For a VM with an in-kernel irqchip, and a vCPU that has no exit to finish (see
  // finish_exit). restore() goes to a vCPU with the same CPUID; a blob of the wrong shape changes
  // nothing, one whose values the kernel refuses leaves a vCPU that must not run.
  Result<std::vector<std::byte>> save(std::span<const std::uint32_t> msr_indices) const;
  Result<void> restore(std::span<const std::byte> blob) const;

  // The registers that hold the guest's data: general, floating-point and vector. data() copies
  // them, wipe_data() wipes them, put_back_data() undoes that. Clocks, timers and what else belongs
  // to the machine go on meanwhile. No exit is to be finished; wiped, the vCPU must not run.
  Result<std::vector<std::byte>> data() const;
  Result<void> wipe_data() const;
  Result<void> put_back_data(std::span<const std::byte> blob) const;

 private:
  friend class Vm;

  struct Layout {
    std::size_t run_size = 0;
    std::size_t xsave_size = 0;  // KVM_CAP_XSAVE2's answer, or that of KVM_GET_XSAVE
  };

  static Result<Vcpu> create(Fd fd, std::uint32_t id, Layout layout);
  Vcpu(Fd fd, Mapping run_area, std::uint32_t id, std::size_t xsave_size)
      : fd_(std::move(fd)), run_area_(std::move(run_area)), id_(id), xsave_size_(xsave_size) {}

  Result<std::vector<std::byte>> read_xsave() const;
  // At least the first, at most all of the span; 0 when KVM refuses the first.
  Result<std::size_t> read_some_msrs(std::span<Msr> msrs) const;
  Result<std::size_t> write_some_msrs(std::span<const Msr> msrs) const;
  Result<std::vector<Msr>> readable_msrs(std::span<const std::uint32_t> indices) const;
  Result<void> restore_msrs(std::span<const Msr> msrs) const;

  Fd fd_;
  Mapping run_area_;
  std::uint32_t id_;
  std::size_t xsave_size_;
};

}  // namespace bulkhead::kvm
