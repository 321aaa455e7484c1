// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "kvm/vm.h"
#include "mem/guest_memory.h"
#include "vmm/vcpu_group.h"

namespace bulkhead {

enum class SlotAccess : std::uint8_t {
  kReadWrite,
  kReadOnly,  // stores exit as MMIO; reads and execution do not
  kAbsent,    // every access exits as MMIO
};

// The memory slots that show guest RAM to the vCPUs. KVM can neither split a slot nor change its
// flags: both mean to delete it and to create the pieces anew, which must not happen under a vCPU
// that uses it. That is what the VcpuPause argument proves. Whole regions come and go without one.
// On one thread.
class MemorySlots {
 public:
  // One read-write slot per region of boot RAM. `vm` and the memory outlive this object.
  static Result<MemorySlots> create(kvm::Vm& vm, const GuestMemory& memory);

  // Shows the vCPUs a region that GuestMemory::grow() gave, read-write. They may be running: no
  // other slot changes. What they do there before is an MMIO exit.
  Result<void> add(const MemoryRegion& region);
  // Takes away a region that add() showed, before GuestMemory::shrink(), from running vCPUs, too:
  // when it returns none of them reaches the memory. What protect() said of its pages is forgotten.
  Result<void> remove(const MemoryRegion& region);

  // Gives [base, base + size_bytes) an access of its own; whole pages of RAM. Slots are split, and
  // joined again where neighbours of one region agree. On an error the slots are as they were.
  Result<void> protect(const VcpuPause& pause, Gpa base, std::uint64_t size_bytes,
                       SlotAccess access);
  SlotAccess access(Gpa address) const;

  // Logs (or no longer logs) what the vCPUs write.
  Result<void> set_dirty_logging(const VcpuPause& pause, bool on);

  // What KVM has now, in ascending order.
  std::span<const kvm::MemorySlot> slots() const { return slots_; }

 private:
  struct Piece {
    Gpa base;
    std::uint64_t size_bytes = 0;
    SlotAccess access = SlotAccess::kReadWrite;
  };

  explicit MemorySlots(kvm::Vm& vm) : vm_(&vm) {}
  const MemoryRegion* region_of(Gpa address) const;
  bool covers(Gpa base, std::uint64_t size_bytes) const;
  std::vector<Piece> pieces_without(const MemoryRegion& region) const;
  std::vector<kvm::MemorySlot> slots_for(const std::vector<Piece>& pieces);
  std::uint32_t free_id(const std::vector<kvm::MemorySlot>& taken) const;
  Result<void> replace(const std::vector<kvm::MemorySlot>& wanted);
  Result<void> apply(const std::vector<Piece>& pieces);

  kvm::Vm* vm_;
  bool log_dirty_ = false;
  std::vector<MemoryRegion> regions_;  // what the vCPUs are shown
  std::vector<Piece> pieces_;          // ascending; cover the regions exactly, each within one
  std::vector<kvm::MemorySlot> slots_;
};

}  // namespace bulkhead
