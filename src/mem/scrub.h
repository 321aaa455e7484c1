// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "mem/frame_source.h"

namespace bulkhead {

struct FilePart {
  int file = -1;
  Backing backing = Backing::kMemfd;
  std::uint64_t offset = 0;  // a multiple of 2 MiB, as is the size
  std::uint64_t size_bytes = 0;
};

// Overwrites with zeroes whatever the part of the file holds. Holes stay holes, and cost little; so
// does what lies beyond the end of the file. Somebody else who truncates it meanwhile can make this
// fail, but raises no SIGBUS.
Result<void> scrub_file(const FilePart& part);

// The same of mapped memory, which the compiler must not leave out because nobody reads it again.
void scrub_bytes(std::span<std::byte> bytes);

}  // namespace bulkhead
