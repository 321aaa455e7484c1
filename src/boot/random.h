// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace bulkhead::boot {

// Fills the buffer from the host kernel's generator.
Result<void> fill_random(std::span<std::byte> bytes);
// Evenly spread over [0, bound); bound is not 0.
Result<std::uint64_t> random_below(std::uint64_t bound);

}  // namespace bulkhead::boot
