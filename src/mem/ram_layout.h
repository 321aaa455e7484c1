// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace bulkhead {

// Where a partition's RAM lies in its guest-physical address space:
//
//   [0, low)                        boot RAM, at most 3 GiB
//   [4 GiB, 4 GiB + rest)           boot RAM that does not fit there
//   [growth_base, + n * 128 MiB)    units that come and go, from the first multiple of 128 MiB
//                                   after all that, and not below 4 GiB
//
// and, without the holes and in the same order, from offset 0 to size_bytes(): the RAM offset, by
// which the host's mapping, the pages (PageIndex) and the dirty log are numbered. It stays the same
// whatever comes and goes.
struct RamLayout {
  static constexpr Gpa kHighBase{4 * kGiB};
  static constexpr std::uint64_t kLowLimit = 3 * kGiB;

  std::uint64_t boot_bytes = 0;
  std::uint64_t low_bytes = 0;
  Gpa growth_base;
  std::size_t units = 0;

  // Growth is in whole units: what `max_bytes` has beyond the last one is left out.
  static constexpr RamLayout of(std::uint64_t boot_bytes, std::uint64_t max_bytes) {
    const std::uint64_t low = std::min(boot_bytes, kLowLimit);
    const std::uint64_t high_end = kHighBase.value() + (boot_bytes - low);
    return {.boot_bytes = boot_bytes,
            .low_bytes = low,
            .growth_base = Gpa(align_up(high_end, kGrowthUnit)),
            .units = max_bytes <= boot_bytes
                         ? 0
                         : static_cast<std::size_t>((max_bytes - boot_bytes) / kGrowthUnit)};
  }

  constexpr std::uint64_t growth_bytes() const { return units * kGrowthUnit; }
  constexpr std::uint64_t size_bytes() const { return boot_bytes + growth_bytes(); }
  constexpr std::uint64_t unit_offset(std::size_t unit) const {
    return boot_bytes + unit * kGrowthUnit;
  }
  constexpr Gpa unit_base(std::size_t unit) const { return growth_base + unit * kGrowthUnit; }
  constexpr Gpa address_of(std::uint64_t ram_offset) const {
    if (ram_offset < low_bytes) return Gpa(ram_offset);
    if (ram_offset < boot_bytes) return kHighBase + (ram_offset - low_bytes);
    return growth_base + (ram_offset - boot_bytes);
  }
  // Where boot RAM ends, seen from below the growth units.
  constexpr Gpa boot_end() const {
    return boot_bytes > low_bytes ? kHighBase + (boot_bytes - low_bytes) : Gpa(low_bytes);
  }
  // The first address above all that is RAM, or may become it.
  constexpr Gpa end() const { return units == 0 ? boot_end() : growth_base + growth_bytes(); }
};

}  // namespace bulkhead
