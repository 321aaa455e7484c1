// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/log.h"
#include "devices/bus.h"
#include "kvm/exit.h"
#include "mem/guest_memory.h"
#include "vmm/outcome.h"

namespace bulkhead {

// Judges stores to RAM that the guest may not write: a read-only or absent slot.
class ProtectedStoreHandler {
 public:
  virtual ~ProtectedStoreHandler() = default;
  // The guest's RIP is already behind the instruction. Returns whether the vCPU may go on.
  virtual bool on_protected_store(std::uint32_t vcpu_id, const kvm::MmioWrite& store) = 0;
};

// Gives each exit to whom it concerns. Shared by all vCPU threads.
class ExitDispatcher {
 public:
  struct Targets {
    const Bus& ports;
    const Bus& mmio;
    const GuestMemory& memory;
    OutcomeSink& outcome;
    ProtectedStoreHandler* protected_stores = nullptr;  // none: such a store ends the partition
  };

  explicit ExitDispatcher(const Targets& targets) : targets_(targets) {}

  // Returns whether the vCPU may enter the guest again.
  bool handle(std::uint32_t vcpu_id, const kvm::Exit& exit);

 private:
  bool port_out(const kvm::PioOut& exit);
  bool port_in(const kvm::PioIn& exit);
  bool mmio_read(const kvm::MmioRead& exit);
  bool mmio_write(std::uint32_t vcpu_id, const kvm::MmioWrite& exit);
  bool end(std::uint32_t vcpu_id, Outcome outcome, LogFields why);

  const Targets targets_;
  LogLimiter unclaimed_;
};

}  // namespace bulkhead
