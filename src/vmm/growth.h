// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "devices/virtio/memory_resizer.h"
#include "mem/guest_memory.h"
#include "vmm/memory_slots.h"
#include "vmm/sealing.h"

namespace bulkhead {

// Makes a growth unit part of a partition and takes it away again: frames, then sealing, then the
// view of the vCPUs, and the other way round.
class Growth final : public MemoryResizer {
 public:
  // All outlive it. `sealing` is null as long as nothing is sealed.
  Growth(GuestMemory& memory, MemorySlots& slots, const std::unique_ptr<Sealing>& sealing)
      : memory_(memory), slots_(slots), sealing_(sealing) {}

  Result<void> add_unit(UnitIndex unit) override;
  Result<void> remove_unit(UnitIndex unit) override;
  Result<void> discard(Gpa base, std::uint64_t size_bytes) override;

 private:
  // The unit is memory: lets it be sealed, and the vCPUs see it.
  Result<void> show(std::size_t unit, const MemoryRegion& region);

  GuestMemory& memory_;
  MemorySlots& slots_;
  const std::unique_ptr<Sealing>& sealing_;
};

}  // namespace bulkhead
