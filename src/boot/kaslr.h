// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead::boot {

// Where an unpacked kernel goes. What the stock decompressor's choose_random_location() does, done
// on the host, which has better randomness at that moment.
struct KernelPlacement {
  Gpa load_address;
  std::uint64_t virtual_offset = 0;  // added to every link-time virtual address
};

struct PlacementRange {
  std::uint64_t preferred = 0;    // where the kernel is linked to be, and the lowest place allowed
  std::uint64_t limit = 0;        // the first address the image must not reach
  std::uint64_t image_bytes = 0;  // in memory
  std::uint64_t alignment = 0;    // power of two
};

// Whether the kernel may be moved: physically only if the command line does not change the memory
// map under us (mem=, memmap=), and not at all with nokaslr.
enum class Randomization : std::uint8_t { kNone, kVirtualOnly, kFull };
Randomization allowed_randomization(std::string_view command_line);

// The image must fit at the preferred address: the caller has checked it.
Result<KernelPlacement> choose_placement(const PlacementRange& range, Randomization allowed);

}  // namespace bulkhead::boot
