// SPDX-License-Identifier: Apache-2.0
#include "vmm/growth.h"

#include "base/log.h"

namespace bulkhead {
namespace {

// Of what is done to undo something: the error that made it necessary is the one that is reported.
template <class T>
void warn(const char* event, const Result<T>& result) {
  if (!result) log_failure(event, result.error());
}

}  // namespace

Result<void> Growth::add_unit(UnitIndex unit) {
  const std::size_t index = unit.value();
  const MemoryRegion region = TRY(memory_.grow(index));
  const Result<void> shown = show(index, region);
  if (!shown) warn("growth_undone", memory_.shrink(index));
  return shown;
}

Result<void> Growth::remove_unit(UnitIndex unit) {
  const std::size_t index = unit.value();
  const MemoryRegion region = memory_.unit_region(index);
  TRY(slots_.remove(region));
  if (sealing_ != nullptr) {
    if (Result<void> removed = sealing_->remove_unit(index); !removed) {
      warn("shrinking_undone", slots_.add(region));
      return removed;
    }
  }
  const Result<MemoryRegion> shrunk = memory_.shrink(index);
  if (shrunk) return {};
  warn("shrinking_undone", show(index, region));
  return shrunk.error();
}

Result<void> Growth::show(std::size_t unit, const MemoryRegion& region) {
  if (sealing_ != nullptr) TRY(sealing_->add_unit(unit));
  Result<void> added = slots_.add(region);
  if (!added && sealing_ != nullptr) warn("growth_undone", sealing_->remove_unit(unit));
  return added;
}

Result<void> Growth::discard(Gpa base, std::uint64_t size_bytes) {
  return memory_.discard(base, size_bytes);
}

}  // namespace bulkhead
