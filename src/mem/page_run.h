// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/address.h"

namespace bulkhead {

// Consecutive pages of a partition's memory: guest-physical address / 4 KiB.
struct PageRun {
  PageIndex first;
  std::uint64_t count = 0;

  bool operator==(const PageRun&) const = default;
};

}  // namespace bulkhead
