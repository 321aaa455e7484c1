// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/address.h"
#include "boot/bzimage.h"
#include "boot/memory_map.h"

namespace bulkhead::boot {

// A range of guest memory with bytes in it; size 0: there is none.
struct LoadedRange {
  Gpa base;
  std::uint64_t size_bytes = 0;
};

struct BootParamsInput {
  const SetupHeader& header;
  const MemoryMap& memory_map;
  LoadedRange initrd;
  Gpa command_line;
  Gpa rsdp;
  Gpa setup_data;      // the first node of the list; 0: none
  bool kaslr = false;  // the kernel was placed at random, and shall randomise its own regions, too
};

// The "zero page" (Documentation/arch/x86/zero-page.rst).
using BootParams = std::array<std::byte, kPageSize>;
BootParams make_boot_params(const BootParamsInput& input);

// A setup_data node that seeds the kernel's random number generator (SETUP_RNG_SEED, Linux 6.0; an
// older kernel ignores it).
inline constexpr std::size_t kRngSeedBytes = 32;
using RngSeed = std::array<std::byte, kRngSeedBytes>;
using RngSeedNode = std::array<std::byte, 16 + kRngSeedBytes>;
RngSeedNode make_rng_seed_node(const RngSeed& seed);

}  // namespace bulkhead::boot
