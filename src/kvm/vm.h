// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "kvm/capability.h"
#include "kvm/vcpu.h"

namespace bulkhead::kvm {

// Guest-physical [base, base + size_bytes) backed by this process's memory at `host`. All three are
// multiples of the page size. The memory outlives the slot.
struct MemorySlot {
  std::uint32_t id = 0;
  Gpa base;
  std::uint64_t size_bytes = 0;
  Hva host;
  bool read_only = false;  // a guest store becomes a MmioWrite exit
  bool log_dirty = false;
};

// A message-signalled interrupt as the device would write it.
struct Msi {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
};

enum class IrqChip : std::uint32_t { kPicMaster = 0, kPicSlave = 1, kIoapic = 2 };

struct IrqPin {
  IrqChip chip = IrqChip::kIoapic;
  std::uint32_t pin = 0;
};

// What a GSI is wired to. A GSI below 24 usually has one route per chip, hence several entries.
struct Route {
  std::uint32_t gsi = 0;
  std::variant<IrqPin, Msi> target;
};

// A guest write that signals an eventfd without leaving the kernel.
struct IoEvent {
  std::variant<Gpa, PortAddr> address;
  std::uint32_t length_bytes = 0;          // 1, 2, 4, 8; 0: any length, and no datamatch then
  std::optional<std::uint64_t> datamatch;  // only this value
};

// Pages [first_page, first_page + page_count) of a slot; both multiples of 64, but the slot's end.
struct DirtyRange {
  std::uint32_t slot = 0;
  std::uint64_t first_page = 0;
  std::uint32_t page_count = 0;
};

// A virtual machine. Interrupt calls may come from any thread. Slot calls come from one thread at a
// time, and delete_slot() only while no vCPU runs.
class Vm {
 public:
  Vm(Vm&&) noexcept = default;
  Vm& operator=(Vm&&) noexcept = default;

  Result<int> capability(Capability capability) const;
  Result<void> enable_capability(Capability capability, std::span<const std::uint64_t> args = {});
  // KVM reports what it cannot emulate, instead of raising #UD in the guest. Linux 5.15.
  Result<void> enable_exit_on_emulation_failure();
  // MSI routes with 32-bit APIC ids, and no broadcast quirk.
  Result<void> enable_x2apic_api();

  // No performance counters, which could watch a neighbour. Before create_vcpu(); a host too old to
  // turn them off (Linux 5.18) hides them by CPUID alone.
  Result<void> disable_pmu();

  // A slot's flags cannot be changed afterwards, nor its size: delete it and create it anew.
  Result<void> set_slot(const MemorySlot& slot);
  Result<void> delete_slot(std::uint32_t id);

  // From now on dirty_log() leaves pages marked until clear_dirty_log(). Before any slot logs.
  Result<void> enable_manual_dirty_clear();
  // One bit per page of the slot; `bitmap` has at least one word per 64 pages.
  Result<void> dirty_log(std::uint32_t slot_id, std::span<std::uint64_t> bitmap) const;
  // Bit n of `bitmap` is page first_page + n.
  Result<void> clear_dirty_log(const DirtyRange& range, std::span<const std::uint64_t> bitmap);

  // The four pages that VT-x needs for real mode and the task state; no slot may contain them.
  Result<void> set_tss_address(Gpa address);
  Result<void> set_identity_map_address(Gpa address);
  // The PICs, the IOAPIC and one LAPIC per vCPU, in the kernel. Before create_vcpu().
  Result<void> create_irqchip();
  Result<void> create_pit();

  Result<void> set_irq_line(std::uint32_t gsi, bool level) const;
  // Whether a LAPIC took it: false when the guest has it masked off.
  Result<bool> signal_msi(const Msi& msi) const;
  // Replaces the whole table.
  Result<void> set_routes(std::span<const Route> routes) const;
  Result<void> assign_irqfd(std::uint32_t gsi, const Fd& event) const;
  Result<void> deassign_irqfd(std::uint32_t gsi, const Fd& event) const;
  Result<void> assign_ioeventfd(const IoEvent& io_event, const Fd& event) const;
  Result<void> deassign_ioeventfd(const IoEvent& io_event, const Fd& event) const;

  Result<Vcpu> create_vcpu(std::uint32_t id) const;

  // kvmclock, in nanoseconds since the VM was created.
  Result<std::uint64_t> clock_ns() const;
  Result<void> set_clock_ns(std::uint64_t value) const;

  // The PICs, the IOAPIC and, where there is one, the PIT: an opaque, versioned blob. Restoring one
  // checks its shape; its values are the kernel's to judge.
  Result<std::vector<std::byte>> save_irqchip() const;
  Result<void> restore_irqchip(std::span<const std::byte> blob) const;

 private:
  friend class System;

  Vm(Fd fd, std::size_t run_size_bytes) : fd_(std::move(fd)), run_size_(run_size_bytes) {}
  Result<void> ioeventfd(const IoEvent& io_event, const Fd& event, std::uint32_t flags) const;

  Fd fd_;
  std::size_t run_size_;
  bool has_pit_ = false;
  std::map<std::uint32_t, std::uint64_t> slot_pages_;  // bounds what the kernel writes to a bitmap
};

}  // namespace bulkhead::kvm
