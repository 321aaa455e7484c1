// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "boot/file_reader.h"

namespace bulkhead::boot {

// The Linux/x86 boot protocol's setup header (Documentation/arch/x86/boot.rst), as it lies at
// offset 0x1f1 of a bzImage and of boot_params. Kept as bytes, because it is handed to the kernel
// as it came, with a few fields filled in.
inline constexpr std::size_t kSetupHeaderOffset = 0x1f1;
inline constexpr std::size_t kSetupHeaderEnd = 0x290;  // where boot_params has something else
using SetupHeader = std::array<std::byte, kSetupHeaderEnd - kSetupHeaderOffset>;

// Offsets within a bzImage's first sectors and within boot_params.
namespace setup {
inline constexpr std::size_t kSetupSects = 0x1f1;         // u8
inline constexpr std::size_t kSysSize = 0x1f4;            // u32, in 16 bytes
inline constexpr std::size_t kVidMode = 0x1fa;            // u16
inline constexpr std::size_t kBootFlag = 0x1fe;           // u16, 0xaa55
inline constexpr std::size_t kJumpOffset = 0x201;         // u8, counted from 0x202
inline constexpr std::size_t kMagic = 0x202;              // u32, "HdrS"
inline constexpr std::size_t kVersion = 0x206;            // u16
inline constexpr std::size_t kTypeOfLoader = 0x210;       // u8
inline constexpr std::size_t kLoadFlags = 0x211;          // u8
inline constexpr std::size_t kRamdiskImage = 0x218;       // u32
inline constexpr std::size_t kRamdiskSize = 0x21c;        // u32
inline constexpr std::size_t kCmdLinePtr = 0x228;         // u32
inline constexpr std::size_t kInitrdAddrMax = 0x22c;      // u32
inline constexpr std::size_t kKernelAlignment = 0x230;    // u32
inline constexpr std::size_t kRelocatableKernel = 0x234;  // u8
inline constexpr std::size_t kXLoadFlags = 0x236;         // u16
inline constexpr std::size_t kCmdlineSize = 0x238;        // u32
inline constexpr std::size_t kPayloadOffset = 0x248;      // u32
inline constexpr std::size_t kPayloadLength = 0x24c;      // u32
inline constexpr std::size_t kSetupData = 0x250;          // u64
inline constexpr std::size_t kPrefAddress = 0x258;        // u64
inline constexpr std::size_t kInitSize = 0x260;           // u32
}  // namespace setup

// What a loader needs of a bzImage: everything checked, sizes in bytes, offsets in the file.
struct BzImage {
  SetupHeader header{};
  std::uint64_t kernel_offset = 0;  // the protected-mode code
  std::uint64_t kernel_bytes = 0;
  std::uint64_t payload_offset = 0;  // the compressed vmlinux; bytes 0: not told
  std::uint64_t payload_bytes = 0;
  std::uint64_t pref_address = 0;  // guest-physical, a multiple of alignment
  std::uint64_t init_size = 0;     // memory from the load address on, while it unpacks itself
  std::uint64_t alignment = 0;     // a power of two
  std::uint64_t initrd_addr_max = 0;
  std::uint64_t cmdline_size = 0;  // without the terminating NUL
  bool relocatable = false;

  // Of a whole file.
  static Result<BzImage> parse(const FileReader& file);
  // The fields that do not depend on a file around them; offsets and payload stay 0.
  static Result<BzImage> parse_header(const SetupHeader& header);
};

}  // namespace bulkhead::boot
