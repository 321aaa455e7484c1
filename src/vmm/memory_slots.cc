// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory_slots.h"

#include <algorithm>
#include <iterator>

#include "base/log.h"

namespace bulkhead {
namespace {

bool same_slot(const kvm::MemorySlot& a, const kvm::MemorySlot& b) {
  return a.base == b.base && a.size_bytes == b.size_bytes && a.read_only == b.read_only &&
         a.log_dirty == b.log_dirty;
}

bool contains_slot(const std::vector<kvm::MemorySlot>& slots, const kvm::MemorySlot& slot) {
  return std::any_of(slots.begin(), slots.end(),
                     [&](const kvm::MemorySlot& other) { return same_slot(other, slot); });
}

}  // namespace

Result<MemorySlots> MemorySlots::create(kvm::Vm& vm, const GuestMemory& memory) {
  MemorySlots slots(vm);
  std::vector<Piece> pieces;
  for (const MemoryRegion& region : memory.regions()) {
    slots.regions_.push_back(region);
    pieces.push_back({region.base, region.size_bytes, SlotAccess::kReadWrite});
  }
  TRY(slots.apply(pieces));
  return slots;
}

Result<void> MemorySlots::add(const MemoryRegion& region) {
  for (const MemoryRegion& known : regions_) {
    if (region.base < known.base + known.size_bytes &&
        known.base < region.base + region.size_bytes) {
      return Error{Errc::kExists, 0, "the vCPUs see this memory already"};
    }
  }
  std::vector<Piece> pieces = pieces_;
  const auto above = std::find_if(pieces.begin(), pieces.end(),
                                  [&](const Piece& piece) { return piece.base > region.base; });
  pieces.insert(above, {region.base, region.size_bytes, SlotAccess::kReadWrite});
  regions_.push_back(region);
  const Result<void> applied = apply(pieces);
  if (!applied) regions_.pop_back();
  return applied;
}

Result<void> MemorySlots::remove(const MemoryRegion& region) {
  const auto known = std::find_if(regions_.begin(), regions_.end(), [&](const MemoryRegion& r) {
    return r.base == region.base && r.size_bytes == region.size_bytes;
  });
  if (known == regions_.end()) {
    return Error{Errc::kNotFound, 0, "the vCPUs do not see this memory"};
  }
  TRY(apply(pieces_without(region)));
  regions_.erase(known);
  return {};
}

std::vector<MemorySlots::Piece> MemorySlots::pieces_without(const MemoryRegion& region) const {
  std::vector<Piece> pieces;
  std::copy_if(pieces_.begin(), pieces_.end(), std::back_inserter(pieces), [&](const Piece& piece) {
    return piece.base < region.base || piece.base - region.base >= region.size_bytes;
  });
  return pieces;
}

const MemoryRegion* MemorySlots::region_of(Gpa address) const {
  const auto region = std::find_if(regions_.begin(), regions_.end(), [&](const MemoryRegion& r) {
    return address >= r.base && address - r.base < r.size_bytes;
  });
  return region == regions_.end() ? nullptr : &*region;
}

bool MemorySlots::covers(Gpa base, std::uint64_t size_bytes) const {
  while (size_bytes > 0) {
    const MemoryRegion* region = region_of(base);
    if (region == nullptr) return false;
    const std::uint64_t here = std::min(size_bytes, region->size_bytes - (base - region->base));
    base = base + here;
    size_bytes -= here;
  }
  return true;
}

Result<void> MemorySlots::protect(const VcpuPause&, Gpa base, std::uint64_t size_bytes,
                                  SlotAccess access) {
  if (size_bytes == 0 || base.value() % kPageSize != 0 || size_bytes % kPageSize != 0 ||
      !covers(base, size_bytes)) {
    return Error{Errc::kOutOfRange, 0, "not whole pages of guest RAM"};
  }
  const Gpa end = base + size_bytes;
  std::vector<Piece> pieces;
  auto append = [&](const Piece& piece) {
    if (piece.size_bytes == 0) return;
    if (!pieces.empty() && pieces.back().access == piece.access &&
        region_of(pieces.back().base) == region_of(piece.base)) {
      pieces.back().size_bytes += piece.size_bytes;
    } else {
      pieces.push_back(piece);
    }
  };
  for (const Piece& old : pieces_) {
    const Gpa old_end = old.base + old.size_bytes;
    if (old_end <= base || old.base >= end) {
      append(old);
      continue;
    }
    const Gpa from = std::max(old.base, base);
    const Gpa to = std::min(old_end, end);
    append({old.base, from - old.base, old.access});
    append({from, to - from, access});
    append({to, old_end - to, old.access});
  }
  return apply(pieces);
}

SlotAccess MemorySlots::access(Gpa address) const {
  for (const Piece& piece : pieces_) {
    if (address >= piece.base && address - piece.base < piece.size_bytes) return piece.access;
  }
  return SlotAccess::kAbsent;
}

Result<void> MemorySlots::set_dirty_logging(const VcpuPause&, bool on) {
  const bool before = std::exchange(log_dirty_, on);
  Result<void> applied = apply(pieces_);
  if (!applied) log_dirty_ = before;
  return applied;
}

// Slots keep their id as long as they do not change; a new one takes the first that is free.
std::uint32_t MemorySlots::free_id(const std::vector<kvm::MemorySlot>& taken) const {
  auto in_use = [&](std::uint32_t id) {
    auto has_id = [&](const kvm::MemorySlot& slot) { return slot.id == id; };
    return std::any_of(taken.begin(), taken.end(), has_id) ||
           std::any_of(slots_.begin(), slots_.end(), has_id);
  };
  std::uint32_t id = 0;
  while (in_use(id)) ++id;
  return id;
}

std::vector<kvm::MemorySlot> MemorySlots::slots_for(const std::vector<Piece>& pieces) {
  std::vector<kvm::MemorySlot> wanted;
  for (const Piece& piece : pieces) {
    if (piece.access == SlotAccess::kAbsent) continue;
    const MemoryRegion* region = region_of(piece.base);
    CHECK(region != nullptr);
    kvm::MemorySlot slot{.id = 0,
                         .base = piece.base,
                         .size_bytes = piece.size_bytes,
                         .host = region->host + (piece.base - region->base),
                         .read_only = piece.access == SlotAccess::kReadOnly,
                         .log_dirty = log_dirty_};
    auto known = std::find_if(slots_.begin(), slots_.end(),
                              [&](const kvm::MemorySlot& old) { return same_slot(old, slot); });
    slot.id = known != slots_.end() ? known->id : free_id(wanted);
    wanted.push_back(slot);
  }
  return wanted;
}

// Deletes first: KVM refuses slots that overlap.
Result<void> MemorySlots::replace(const std::vector<kvm::MemorySlot>& wanted) {
  std::vector<kvm::MemorySlot> present = std::move(slots_);
  slots_.clear();
  for (const kvm::MemorySlot& slot : present) {
    if (contains_slot(wanted, slot)) {
      slots_.push_back(slot);
    } else {
      TRY(vm_->delete_slot(slot.id));
    }
  }
  for (const kvm::MemorySlot& slot : wanted) {
    if (contains_slot(present, slot)) continue;
    TRY(vm_->set_slot(slot));
    slots_.push_back(slot);
  }
  slots_ = wanted;
  return {};
}

Result<void> MemorySlots::apply(const std::vector<Piece>& pieces) {
  const std::vector<kvm::MemorySlot> before = slots_;
  Result<void> replaced = replace(slots_for(pieces));
  if (!replaced) {
    log_failure("memory_slots", replaced.error());
    TRY(replace(before));
    return replaced;
  }
  pieces_ = pieces;
  return {};
}

}  // namespace bulkhead
