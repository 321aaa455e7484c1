// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <variant>

#include "base/result.h"
#include "boot/bzimage.h"
#include "boot/elf_image.h"
#include "boot/unpacked_format.h"

namespace bulkhead::boot {

// What a kernel file is. The parsers only read headers: probing is cheap.
class KernelImage {
 public:
  enum class Kind : std::uint8_t {
    kBzImage,   // started by its 64-bit entry; unpacks itself
    kElf,       // vmlinux with a PVH entry
    kUnpacked,  // the content of a bzImage, from the cache: see unpacked_format.h
  };
  using Parsed = std::variant<BzImage, ElfImage, UnpackedKernel>;

  // Recognises the file and checks its headers. Errors fit behind the file's name:
  // "is not a Linux kernel for x86-64 (neither bzImage nor ELF)".
  static Result<KernelImage> probe(int fd);

  Kind kind() const { return static_cast<Kind>(parsed_.index()); }
  const Parsed& parsed() const { return parsed_; }

  // The smallest partition in which the kernel alone can be started. What it needs to run is more.
  std::uint64_t needed_bytes() const;

 private:
  explicit KernelImage(Parsed parsed) : parsed_(parsed) {}

  Parsed parsed_;
};

}  // namespace bulkhead::boot
