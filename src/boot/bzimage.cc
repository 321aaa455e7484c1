// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.h"

#include <algorithm>
#include <bit>

#include "base/address.h"
#include "base/byte_reader.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint16_t kBootFlagValue = 0xaa55;
constexpr std::uint32_t kHdrS = 0x53726448;
constexpr std::uint16_t kOldestProtocol = 0x020c;  // 2.12 brought xloadflags
constexpr std::uint8_t kLoadedHigh = 1U << 0;
constexpr std::uint16_t kXlfKernel64 = 1U << 0;
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kParagraphBytes = 16;
constexpr std::uint64_t kSmallestAlignment = 2 * kMiB;  // MIN_KERNEL_ALIGN of x86-64
constexpr std::uint64_t kMaxInitSize = kGiB;  // a kernel's text and data mapping has no more room

template <std::unsigned_integral T>
T field(const SetupHeader& header, std::size_t offset) {
  return get_le<T>(header, offset - kSetupHeaderOffset);
}

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}
Error unsupported(const char* what) {
  return Error{Errc::kUnsupported, 0, what};
}

Result<void> check_kind(const SetupHeader& header) {
  if (field<std::uint16_t>(header, setup::kBootFlag) != kBootFlagValue ||
      field<std::uint32_t>(header, setup::kMagic) != kHdrS) {
    return malformed("not a bzImage: the setup header's marks are missing");
  }
  if (field<std::uint16_t>(header, setup::kVersion) < kOldestProtocol) {
    return unsupported("kernel too old: boot protocol 2.12 (Linux 3.8) or later is needed");
  }
  if ((field<std::uint8_t>(header, setup::kLoadFlags) & kLoadedHigh) == 0) {
    return unsupported("a zImage, not a bzImage: build the kernel as bzImage");
  }
  if ((field<std::uint16_t>(header, setup::kXLoadFlags) & kXlfKernel64) == 0) {
    return unsupported("a 32-bit kernel: only x86-64 kernels can be started");
  }
  return {};
}

// The part of a bzImage behind the real-mode sectors, and the compressed kernel in it.
Result<void> locate(const FileReader& file, BzImage& image) {
  const auto sects = field<std::uint8_t>(image.header, setup::kSetupSects);
  image.kernel_offset = (std::uint64_t{sects == 0 ? std::uint8_t{4} : sects} + 1) * kSectorBytes;
  image.kernel_bytes =
      std::uint64_t{field<std::uint32_t>(image.header, setup::kSysSize)} * kParagraphBytes;
  if (image.kernel_bytes <= kSectorBytes) return malformed("the bzImage holds no kernel");
  if (!range_fits(image.kernel_offset, image.kernel_bytes, file.size())) {
    return Error{Errc::kTruncated, 0, "the bzImage is truncated"};
  }
  if (image.kernel_bytes > image.init_size) {
    return malformed("the bzImage's init_size is smaller than its code");
  }
  const std::uint64_t payload = field<std::uint32_t>(image.header, setup::kPayloadOffset);
  image.payload_bytes = field<std::uint32_t>(image.header, setup::kPayloadLength);
  if (!range_fits(payload, image.payload_bytes, image.kernel_bytes)) {
    return malformed("the bzImage's payload lies outside of it");
  }
  image.payload_offset = image.kernel_offset + payload;
  return {};
}

}  // namespace

Result<BzImage> BzImage::parse_header(const SetupHeader& header) {
  TRY(check_kind(header));
  BzImage image;
  image.header = header;
  // Bytes behind the header's own end are code: they must not reach boot_params as fields.
  const std::size_t end =
      setup::kMagic + field<std::uint8_t>(header, setup::kJumpOffset) - kSetupHeaderOffset;
  std::fill(image.header.begin() + static_cast<std::ptrdiff_t>(std::min(end, header.size())),
            image.header.end(), std::byte{0});
  image.pref_address = field<std::uint64_t>(image.header, setup::kPrefAddress);
  image.init_size = field<std::uint32_t>(image.header, setup::kInitSize);
  image.alignment = field<std::uint32_t>(image.header, setup::kKernelAlignment);
  image.initrd_addr_max = field<std::uint32_t>(image.header, setup::kInitrdAddrMax);
  image.cmdline_size = field<std::uint32_t>(image.header, setup::kCmdlineSize);
  image.relocatable = field<std::uint8_t>(image.header, setup::kRelocatableKernel) != 0;
  if (!std::has_single_bit(image.alignment) || image.alignment < kSmallestAlignment ||
      image.alignment > kGiB) {
    return malformed("the bzImage's kernel_alignment is not a sensible power of two");
  }
  if (image.pref_address < kMiB || image.pref_address >= 4 * kGiB ||
      image.pref_address % image.alignment != 0) {
    return malformed("the bzImage's pref_address is out of range or not aligned");
  }
  if (image.init_size == 0 || image.init_size > kMaxInitSize) {
    return malformed("the bzImage's init_size is zero or above 1 GiB");
  }
  return image;
}

Result<BzImage> BzImage::parse(const FileReader& file) {
  SetupHeader header;
  TRY(file.read(kSetupHeaderOffset, header));
  BzImage image = TRY(parse_header(header));
  TRY(locate(file, image));
  return image;
}

}  // namespace bulkhead::boot
