// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>

#include "base/address.h"
#include "boot/boot_params.h"
#include "boot/memory_map.h"

namespace bulkhead::boot {

struct StartInfoInput {
  const MemoryMap& memory_map;
  LoadedRange initrd;
  Gpa command_line;
  Gpa rsdp;
};

// hvm_start_info (56 bytes), one module (32), and a memory map table (24 an entry).
using StartInfo = std::array<std::byte, 56 + 32 + 24 * MemoryMap::kCapacity>;

// hvm_start_info version 1 with its module list and memory map behind it, for guest address `at`
// (Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h).
StartInfo make_start_info(Gpa at, const StartInfoInput& input);

}  // namespace bulkhead::boot
