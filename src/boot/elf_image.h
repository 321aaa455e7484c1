// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "boot/file_reader.h"

namespace bulkhead::boot {

// One PT_LOAD program header, checked against the file and the others.
struct ElfSegment {
  std::uint64_t file_offset = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t physical = 0;  // p_paddr
  std::uint64_t memory_bytes = 0;
};

// An ELF64 vmlinux for x86-64, as far as a loader is concerned (ELF-64 Object File Format 1.5).
class ElfImage {
 public:
  static constexpr std::size_t kMaxSegments = 16;

  static Result<ElfImage> parse(const FileReader& file);

  std::span<const ElfSegment> segments() const { return {segments_.data(), segment_count_}; }
  std::uint64_t entry() const { return entry_; }  // e_entry: physical, in a vmlinux
  // XEN_ELFNOTE_PHYS32_ENTRY: where PVH starts, in 32-bit mode without paging.
  std::optional<std::uint32_t> pvh_entry() const { return pvh_entry_; }
  // The physical range that all segments together span.
  std::uint64_t low() const { return low_; }
  std::uint64_t high() const { return high_; }
  // Where the ELF file ends. In a bzImage's payload, relocation tables follow.
  std::uint64_t file_end() const { return file_end_; }

 private:
  struct ProgramHeaders;

  Result<void> read_program_headers(const FileReader& file, const ProgramHeaders& table);
  Result<void> add_segment(const FileReader& file, const ElfSegment& segment);
  Result<void> read_notes(const FileReader& file, std::uint64_t offset, std::uint64_t length);

  std::array<ElfSegment, kMaxSegments> segments_{};
  std::size_t segment_count_ = 0;
  std::uint64_t entry_ = 0;
  std::optional<std::uint32_t> pvh_entry_;
  std::uint64_t low_ = ~std::uint64_t{0};
  std::uint64_t high_ = 0;
  std::uint64_t file_end_ = 0;
};

}  // namespace bulkhead::boot
