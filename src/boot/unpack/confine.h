// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"

namespace bulkhead::boot {

// Takes everything from this process but reading kUnpackInputFd, writing kUnpackOutputFd, a bounded
// amount of memory and processor time, and its exit. There is no way back.
Result<void> confine(std::uint64_t output_limit_bytes);

}  // namespace bulkhead::boot
