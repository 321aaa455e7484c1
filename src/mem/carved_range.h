// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace bulkhead {

// Physical memory that the host kernel was told to leave alone: `memmap=SIZE$ADDRESS` on its
// command line. Such an object exists only for a range that passed the check, since whoever maps a
// wrong one through /dev/mem writes over the kernel, the firmware or a device.
class CarvedRange {
 public:
  // 2 MiB aligned, in one memmap= option of /proc/cmdline, all of it RAM as the firmware has it
  // (/sys/firmware/memmap), and in /proc/iomem "Reserved" and nothing else. `root` is "", but for
  // tests. Each refusal says what to do.
  static Result<CarvedRange> check(std::uint64_t base, std::uint64_t size_bytes,
                                   const std::string& root = "");
  // SIZE@ADDRESS with the suffixes K, M, G and hexadecimal, as 64M@0x50000000; then check().
  static Result<CarvedRange> parse(std::string_view text, const std::string& root = "");

  std::uint64_t base() const { return base_; }
  std::uint64_t size_bytes() const { return size_bytes_; }
  std::uint64_t frames() const { return size_bytes_ / kFrameSize; }

 private:
  CarvedRange(std::uint64_t base, std::uint64_t size_bytes)
      : base_(base), size_bytes_(size_bytes) {}

  std::uint64_t base_;
  std::uint64_t size_bytes_;
};

}  // namespace bulkhead
