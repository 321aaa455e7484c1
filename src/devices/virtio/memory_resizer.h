// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead {

// A growth unit (kGrowthUnit bytes) by its place in the region that a memory device manages.
using UnitIndex = Address<struct UnitIndexKind>;

// Gives a partition memory while it runs, and takes it back: where a memory device meets the host's
// ledger. Called on the event loop's thread, with the device's lock; calls may be slow.
class MemoryResizer {
 public:
  virtual ~MemoryResizer() = default;

  // Makes a unit, of zeroes, part of the guest's memory. On an error (kExhausted: the host has no
  // more) nothing has changed.
  virtual Result<void> add_unit(UnitIndex unit) = 0;
  // Takes it out of the guest's memory, and gives its frames back. On an error it is still there.
  virtual Result<void> remove_unit(UnitIndex unit) = 0;
  // Gives up the content of a part of a unit that stays. Whole frames.
  virtual Result<void> discard(Gpa base, std::uint64_t size_bytes) = 0;
};

}  // namespace bulkhead
