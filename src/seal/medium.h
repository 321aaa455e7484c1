// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace bulkhead {

// Bytes that a store lies on. What they hold is not trusted. Reads and writes of different ranges
// may run at the same time; grow() and size() too.
class Medium {
 public:
  virtual ~Medium() = default;

  // kTruncated if the range does not exist.
  virtual Result<void> read_at(std::uint64_t offset, std::span<std::byte> bytes) = 0;
  // kExhausted when there is no space: the old bytes of the range may be lost then.
  virtual Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  // What was written before survives a power cut. After a failure nobody knows what does.
  virtual Result<void> sync() = 0;
  virtual std::uint64_t size() = 0;
  // Makes at least `size_bytes` exist; new bytes are zero. kExhausted at a limit.
  virtual Result<void> grow(std::uint64_t size_bytes) = 0;
  // The range's bytes are no longer needed; it reads as zeroes or as before.
  virtual void discard(std::uint64_t offset, std::uint64_t length) = 0;

  // The range where it can be read and written without a copy, or empty. Only a medium that no one
  // else can write to may offer it.
  virtual std::span<std::byte> window(std::uint64_t offset, std::uint64_t length) {
    (void)offset, (void)length;
    return {};
  }
};

}  // namespace bulkhead
