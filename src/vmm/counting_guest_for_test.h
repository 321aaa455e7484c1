// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "boot/image_builder_for_test.h"

namespace bulkhead {

// Counts in a register and in memory, for ever, and stops with a triple fault when they differ:
//   xor ebx, ebx; again: inc ebx; inc dword [0x1800000]; cmp ebx, [0x1800000]; jne bad
//   out 0x80, al; jmp again; bad: ud2
inline constexpr std::uint8_t kCountingProgram[] = {0x31, 0xdb, 0x43, 0xff, 0x05, 0x00, 0x00, 0x80,
                                                    0x01, 0x3b, 0x1d, 0x00, 0x00, 0x80, 0x01, 0x75,
                                                    0x04, 0xe6, 0x80, 0xeb, 0xed, 0x0f, 0x0b};

inline Fd counting_guest() {
  boot::Bytes image = boot::TestElf::make();
  constexpr std::size_t kEntry =
      boot::TestElf::kText + (boot::TestElf::kPvhEntry - boot::TestElf::kLink);
  for (std::size_t i = 0; i < sizeof kCountingProgram; ++i)
    image[kEntry + i] = std::byte{kCountingProgram[i]};
  return boot::make_file(image);
}

}  // namespace bulkhead
