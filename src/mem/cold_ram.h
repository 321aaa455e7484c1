// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "base/result.h"
#include "mem/cold_memory.h"
#include "mem/guest_memory.h"

namespace bulkhead {

// Hands guest RAM to cold memory. A page's index is its RAM offset / 4 KiB, so that it stays the
// same whatever comes and goes. All RAM must be of kMemfd.

// Everything that is there now. On an error nothing of it is managed that was not before.
Result<void> manage_ram(ColdMemory& cold, const GuestMemory& memory);
// A growth unit after GuestMemory::grow(), and before GuestMemory::shrink().
Result<void> manage_unit(ColdMemory& cold, const GuestMemory& memory, std::size_t unit);
Result<void> forget_unit(ColdMemory& cold, const GuestMemory& memory, std::size_t unit);

}  // namespace bulkhead
