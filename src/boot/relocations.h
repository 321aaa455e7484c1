// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/result.h"
#include "boot/file_reader.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot {

// The relocation tables that a kernel built with CONFIG_RANDOMIZE_BASE carries behind its ELF
// image, in the order of Linux' arch/x86/boot/compressed/misc.c, handle_relocations():
//
//   0, addresses of 64-bit words to which the offset is added,
//   0, addresses of 32-bit words from which it is subtracted (not in Linux 6.15 and later),
//   0, addresses of 32-bit words to which it is added.
//
// Each entry is the low half of a link-time virtual address in the kernel's mapping. How many zeros
// there are tells the two formats apart.
class RelocationTables {
 public:
  enum class Kind : std::uint8_t { kAdd64, kSubtract32, kAdd32 };
  struct Table {
    Kind kind = Kind::kAdd32;
    std::uint64_t offset = 0;  // in the file view
    std::uint64_t count = 0;
  };

  // Of a payload whose ELF image ends at `elf_end`. No value: there are none in a form known here.
  static Result<std::optional<RelocationTables>> find(const FileReader& payload,
                                                      std::uint64_t elf_end);

  struct Target {
    Gpa load_address;
    std::uint64_t link_address = 0;  // physical
    std::uint64_t image_bytes = 0;
    std::uint64_t virtual_offset = 0;
  };
  // Adjusts a loaded image. An entry that does not lie in the image, or is out of order, is an
  // error: then the kernel must not be started.
  Result<void> apply(GuestMemory& memory, const FileReader& payload, const Target& target) const;

  const std::array<Table, 3>& tables() const { return tables_; }

 private:
  std::array<Table, 3> tables_{};
};

}  // namespace bulkhead::boot
