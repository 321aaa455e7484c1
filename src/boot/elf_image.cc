// SPDX-License-Identifier: Apache-2.0
#include "boot/elf_image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/address.h"
#include "base/byte_reader.h"

namespace bulkhead::boot {
namespace {

constexpr std::size_t kMaxProgramHeaders = 64;
constexpr std::uint64_t kMaxNoteBytes = 64 * kKiB;
constexpr std::uint64_t kPhysicalLimit = std::uint64_t{1} << 46;
constexpr std::uint32_t kXenPhys32Entry = 18;  // xen/include/public/elfnote.h

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}
Error unsupported(const char* what) {
  return Error{Errc::kUnsupported, 0, what};
}

Result<void> check_ident(const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return malformed("not an ELF file");
  // e_machine lies at the same place in both classes.
  if (header.e_machine == EM_386) {
    return unsupported("a 32-bit kernel: only x86-64 kernels can be started");
  }
  if (header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64) {
    return unsupported("an ELF file for another architecture: only x86-64 kernels can be started");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64) {
    return unsupported("an x32 ELF file: only x86-64 kernels can be started");
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
    return unsupported("an ELF object or core file, not an executable kernel");
  }
  return {};
}

bool overlap(const ElfSegment& a, const ElfSegment& b) {
  return a.physical < b.physical + b.memory_bytes && b.physical < a.physical + a.memory_bytes;
}

}  // namespace

struct ElfImage::ProgramHeaders {
  std::uint64_t offset = 0;
  std::size_t count = 0;
};

Result<ElfImage> ElfImage::parse(const FileReader& file) {
  Elf64_Ehdr header;
  if (!file.read(0, std::as_writable_bytes(std::span(&header, 1)))) {
    return Error{Errc::kTruncated, 0, "the ELF file is truncated within its header"};
  }
  TRY(check_ident(header));
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kMaxProgramHeaders) {
    return malformed("the ELF file's program header table has a bad entry size or count");
  }
  ElfImage image;
  image.entry_ = header.e_entry;
  TRY(image.read_program_headers(file, {header.e_phoff, header.e_phnum}));
  if (image.segment_count_ == 0) return malformed("the ELF file has nothing to load");

  // The section headers of a linked file are its last part. They are not needed otherwise, so a
  // table that is missing or cut does not disqualify the file.
  const std::uint64_t sections = std::uint64_t{header.e_shnum} * header.e_shentsize;
  if (range_fits(header.e_shoff, sections, file.size())) {
    image.file_end_ = std::max(image.file_end_, header.e_shoff + sections);
  }
  return image;
}

Result<void> ElfImage::read_program_headers(const FileReader& file, const ProgramHeaders& table) {
  std::array<Elf64_Phdr, kMaxProgramHeaders> headers;
  const std::span used(headers.data(), table.count);
  if (!file.read(table.offset, std::as_writable_bytes(used))) {
    return Error{Errc::kTruncated, 0, "the ELF file is truncated within its program headers"};
  }
  for (const Elf64_Phdr& header : used) {
    if (header.p_type == PT_LOAD && header.p_memsz != 0) {
      TRY(add_segment(file, {header.p_offset, header.p_filesz, header.p_paddr, header.p_memsz}));
    } else if (header.p_type == PT_NOTE) {
      TRY(read_notes(file, header.p_offset, header.p_filesz));
    }
  }
  return {};
}

Result<void> ElfImage::add_segment(const FileReader& file, const ElfSegment& segment) {
  if (segment.file_bytes > segment.memory_bytes) {
    return malformed("an ELF segment is larger in the file than in memory");
  }
  if (!range_fits(segment.physical, segment.memory_bytes, kPhysicalLimit)) {
    return malformed("an ELF segment's physical address is out of range");
  }
  if (!range_fits(segment.file_offset, segment.file_bytes, file.size())) {
    return Error{Errc::kTruncated, 0, "the ELF file is truncated: a segment lies behind its end"};
  }
  for (const ElfSegment& other : segments()) {
    if (overlap(segment, other)) return malformed("two ELF segments overlap in memory");
  }
  if (segment_count_ == kMaxSegments) return malformed("the ELF file has too many segments");
  segments_[segment_count_++] = segment;
  low_ = std::min(low_, segment.physical);
  high_ = std::max(high_, segment.physical + segment.memory_bytes);
  file_end_ = std::max(file_end_, segment.file_offset + segment.file_bytes);
  return {};
}

// A list of notes: three words, name and descriptor, each padded to 4 bytes (gABI, Note Section).
// A list that makes no sense is ignored from there on: other tools' notes are none of our business.
Result<void> ElfImage::read_notes(const FileReader& file, std::uint64_t offset,
                                  std::uint64_t length) {
  if (pvh_entry_ || length == 0 || length > kMaxNoteBytes) return {};
  std::vector<std::byte> bytes(length);
  if (!file.read(offset, bytes)) {
    return Error{Errc::kTruncated, 0, "the ELF file is truncated: its notes lie behind its end"};
  }
  ByteReader reader(bytes);
  while (reader.remaining() >= sizeof(Elf64_Nhdr)) {  // each round takes at least these 12 bytes
    const auto name_bytes = TRY(reader.read<std::uint32_t>());
    const auto value_bytes = TRY(reader.read<std::uint32_t>());
    const auto type = TRY(reader.read<std::uint32_t>());
    auto name = reader.take(align_up(name_bytes, 4));
    if (!name) return {};
    auto value = reader.take(align_up(value_bytes, 4));
    if (!value) return {};
    const bool xen = name_bytes == 4 && std::memcmp(name->data(), "Xen", 4) == 0;
    if (xen && type == kXenPhys32Entry && value_bytes >= sizeof(std::uint32_t)) {
      pvh_entry_ = get_le<std::uint32_t>(*value, 0);
      return {};
    }
  }
  return {};
}

}  // namespace bulkhead::boot
