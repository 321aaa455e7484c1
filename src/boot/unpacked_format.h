// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/address.h"
#include "base/result.h"
#include "boot/bzimage.h"
#include "boot/elf_image.h"
#include "boot/file_reader.h"

// The file in which an unpacked kernel is cached: a page of header, then the bzImage's payload as
// it comes out of the decompressor. docs/formats/unpacked-kernel.md describes it.

namespace bulkhead::boot {

inline constexpr std::uint64_t kUnpackedHeaderBytes = kPageSize;
inline constexpr std::array<std::byte, 8> kUnpackedMagic{
    std::byte{'B'}, std::byte{'L'}, std::byte{'K'}, std::byte{'H'},
    std::byte{'K'}, std::byte{'R'}, std::byte{'N'}, std::byte{'1'}};

using PayloadDigest = std::array<std::byte, 32>;  // SHA-256

struct UnpackedHeader {
  SetupHeader setup{};
  std::uint64_t payload_bytes = 0;
  PayloadDigest payload_digest{};

  using Bytes = std::array<std::byte, kUnpackedHeaderBytes>;
  Bytes encode() const;
  // Also checks that the file has the size that the header tells.
  static Result<UnpackedHeader> parse(const FileReader& file);
};

// An unpacked kernel, ready to be loaded. Segment offsets count from the payload's start, which is
// kUnpackedHeaderBytes into the file.
struct UnpackedKernel {
  BzImage bzimage;  // of the setup header; no payload
  ElfImage elf;

  // Does not verify the digest: whoever opened the file has made sure of its content.
  static Result<UnpackedKernel> parse(const FileReader& file);
};

}  // namespace bulkhead::boot
