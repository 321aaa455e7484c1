// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel_image.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/byte_reader.h"

namespace bulkhead::boot {
namespace {

using Start = std::array<std::byte, 64>;

bool starts_with(const Start& start, std::size_t offset, std::string_view mark) {
  return std::memcmp(start.data() + offset, mark.data(), mark.size()) == 0;
}

// Says as precisely as possible what the file is instead of a kernel we can start.
Error not_a_kernel(const Start& start) {
  const char* what = "not a Linux kernel for x86-64: neither a bzImage nor an ELF file";
  if (starts_with(start, 56, "ARM\x64")) {  // Documentation/arch/arm64/booting.rst
    what = "a kernel for ARM64: only x86-64 kernels can be started";
  } else if (starts_with(start, 48, "RISCV")) {
    what = "a kernel for RISC-V: only x86-64 kernels can be started";
  } else if (starts_with(start, 4, "zimg")) {
    what = "an EFI-only compressed kernel (zboot): a bzImage or a vmlinux is needed";
  } else if (starts_with(start, 0, "\x1f\x8b") ||
             starts_with(start, 0,
                         "\xfd"
                         "7zXZ") ||
             starts_with(start, 0, "\x28\xb5\x2f\xfd")) {
    what = "a compressed file, not a kernel: decompress it first";
  } else if (starts_with(start, 0, "070701")) {
    what = "a cpio archive: this looks like an initrd, not a kernel";
  }
  return Error{Errc::kMalformed, 0, what};
}

bool is_bzimage(const FileReader& file) {
  std::array<std::byte, 4> magic{};
  return file.read(setup::kMagic, magic).has_value() && std::memcmp(magic.data(), "HdrS", 4) == 0;
}

Result<KernelImage::Parsed> parse_any(const FileReader& file) {
  Start start{};
  if (file.size() == 0) return Error{Errc::kTruncated, 0, "the file is empty"};
  const std::size_t length = std::min<std::size_t>(start.size(), file.size());
  TRY(file.read(0, std::span(start).first(length)));
  if (std::equal(kUnpackedMagic.begin(), kUnpackedMagic.end(), start.begin())) {
    return KernelImage::Parsed(TRY(UnpackedKernel::parse(file)));
  }
  if (starts_with(start, 0, ELFMAG)) {
    const ElfImage elf = TRY(ElfImage::parse(file));
    if (!elf.pvh_entry()) {
      return Error{
          Errc::kUnsupported, 0,
          "the ELF file has no PVH entry note: build the kernel with CONFIG_PVH, or use its "
          "bzImage"};
    }
    return KernelImage::Parsed(elf);
  }
  if (is_bzimage(file)) return KernelImage::Parsed(TRY(BzImage::parse(file)));
  return not_a_kernel(start);
}

}  // namespace

Result<KernelImage> KernelImage::probe(int fd) {
  const FileReader file = TRY(FileReader::create(fd));
  return KernelImage(TRY(parse_any(file)));
}

std::uint64_t KernelImage::needed_bytes() const {
  if (const auto* bzimage = std::get_if<BzImage>(&parsed_)) {
    return bzimage->pref_address + bzimage->init_size;
  }
  if (const auto* unpacked = std::get_if<UnpackedKernel>(&parsed_)) return unpacked->elf.high();
  return std::get<ElfImage>(parsed_).high();
}

}  // namespace bulkhead::boot
