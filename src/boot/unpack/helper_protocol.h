// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// How `bulkhead-unpack` is called:
//   bulkhead-unpack PAYLOAD_OFFSET PAYLOAD_BYTES OUTPUT_LIMIT_BYTES     (decimal)
// with the bzImage on kInputFd and a fresh file, positioned where the payload shall go, on
// kOutputFd.

namespace bulkhead::boot {

inline constexpr int kUnpackInputFd = 3;
inline constexpr int kUnpackOutputFd = 4;

// The helper's exit status. A helper that dies by a signal broke one of its limits.
enum class UnpackStatus : std::uint8_t {
  kDone = 0,
  kUsage = 2,
  kDamaged = 10,      // the compressed data makes no sense, or ends early
  kUnsupported = 11,  // a compression that the helper does not know
  kTooLarge = 12,     // more output, or more memory, than allowed
  kIo = 13,
  kNoSpace = 14,
  kNotConfined = 15,  // the host refused a confinement; nothing was read
};

}  // namespace bulkhead::boot
