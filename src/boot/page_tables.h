// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot {

// Writes page tables at kPageTableBase that map the low 4 GiB one to one, with 2 MiB pages: what
// the 64-bit boot protocol asks for. Kernel and boot parameters are never placed higher.
Result<void> write_identity_page_tables(GuestMemory& memory);

}  // namespace bulkhead::boot
