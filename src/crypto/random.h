// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace bulkhead {

// Fills the buffer from the host kernel's generator, waiting until it is seeded.
Result<void> random_bytes(std::span<std::byte> bytes);

// Nearly evenly spread over [0, bound), where bound is at most 2^32 and not 0: the bias is below
// 2^-32.
Result<std::uint64_t> random_below(std::uint64_t bound);

}  // namespace bulkhead
