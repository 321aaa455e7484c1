// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/check.h"
#include "base/fd.h"
#include "boot/bzimage.h"
#include "boot/unpacked_format.h"

// Small kernels made in memory, for the tests of this folder.

namespace bulkhead::boot {

using Bytes = std::vector<std::byte>;

inline Fd make_file(std::span<const std::byte> content) {
  Fd fd(::memfd_create("test", MFD_CLOEXEC));
  CHECK(fd.valid());
  CHECK(::write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  return fd;
}

template <std::unsigned_integral T>
void append(Bytes& bytes, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

template <class T>
void poke(Bytes& bytes, std::size_t at, const T& value) {
  CHECK(range_fits(at, sizeof value, bytes.size()));
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// A vmlinux: text at 16 MiB, a percpu segment behind it, a PVH note; optionally relocations.
struct TestElf {
  static constexpr std::uint64_t kLink = 16 * kMiB;
  static constexpr std::uint64_t kText = 0x1000;  // file offset of the text, 8 KiB
  static constexpr std::uint64_t kTextBytes = 0x2000;
  static constexpr std::uint64_t kTextMemory = 0x4000;
  static constexpr std::uint64_t kData = 0x3000;  // file offset of the second segment, 4 KiB
  static constexpr std::uint64_t kDataBytes = 0x1000;
  static constexpr std::uint64_t kNotes = 0x200;
  static constexpr std::uint32_t kPvhEntry = kLink + 0x40;
  static constexpr std::uint64_t kEntry = kLink + 0x80;
  static constexpr std::uint64_t kImageBytes = kTextMemory + kDataBytes;

  static Elf64_Phdr load(std::uint64_t offset, std::uint64_t physical, std::uint64_t file_bytes,
                         std::uint64_t memory_bytes) {
    Elf64_Phdr header{};
    header.p_type = PT_LOAD;
    header.p_offset = offset;
    header.p_vaddr = 0xffffffff80000000 + physical;
    header.p_paddr = physical;
    header.p_filesz = file_bytes;
    header.p_memsz = memory_bytes;
    return header;
  }

  static Bytes notes() {
    Bytes bytes;
    for (std::uint32_t word : {4U, 4U, 6U}) append(bytes, word);  // another note of Xen's first
    for (char c : {'X', 'e', 'n', '\0'}) append(bytes, static_cast<std::uint8_t>(c));
    append(bytes, std::uint32_t{0xdead});
    for (std::uint32_t word : {4U, 8U, 18U}) append(bytes, word);
    for (char c : {'X', 'e', 'n', '\0'}) append(bytes, static_cast<std::uint8_t>(c));
    append(bytes, std::uint64_t{kPvhEntry});
    return bytes;
  }

  static Bytes make() {
    Bytes bytes(kData + kDataBytes);
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = kEntry;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    poke(bytes, 0, header);
    const Bytes note_bytes = notes();
    Elf64_Phdr note{};
    note.p_type = PT_NOTE;
    note.p_offset = kNotes;
    note.p_filesz = note_bytes.size();
    poke(bytes, program_header(0), load(kText, kLink, kTextBytes, kTextMemory));
    poke(bytes, program_header(1), load(kData, kLink + kTextMemory, kDataBytes, kDataBytes));
    poke(bytes, program_header(2), note);
    std::ranges::copy(note_bytes, bytes.begin() + kNotes);
    for (std::uint64_t at = kText; at < bytes.size(); ++at) {
      bytes[at] = static_cast<std::byte>(at * 7 + at / 256);
    }
    return bytes;
  }

  static constexpr std::size_t program_header(std::size_t index) {
    return sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr);
  }
};

// The link-time virtual address of an offset in the image, as a relocation table has it.
constexpr std::uint32_t reloc_of(std::uint64_t offset) {
  return static_cast<std::uint32_t>(0x80000000 + TestElf::kLink + offset);
}

struct TestRelocations {
  std::vector<std::uint64_t> add64, subtract32, add32;
  bool has_subtract = true;

  Bytes make() const {
    Bytes bytes;
    const auto table = [&](const std::vector<std::uint64_t>& offsets) {
      append(bytes, std::uint32_t{0});
      for (std::uint64_t offset : offsets) append(bytes, reloc_of(offset));
    };
    table(add64);
    if (has_subtract) table(subtract32);
    table(add32);
    return bytes;
  }
};

// A bzImage around a payload, which it does not look at.
struct TestBzImage {
  static constexpr std::size_t kSectors = 2;
  static constexpr std::size_t kKernel = (kSectors + 1) * 512;
  static constexpr std::size_t kPayload = 0x400;  // from the start of the protected-mode code

  static Bytes make(std::span<const std::byte> payload) {
    const std::size_t code = align_up(kPayload + payload.size(), 16);
    Bytes bytes(kKernel + code);
    std::fill(bytes.begin() + kKernel, bytes.end(), std::byte{0x90});
    poke(bytes, setup::kSetupSects, std::uint8_t{kSectors});
    poke(bytes, setup::kSysSize, static_cast<std::uint32_t>(code / 16));
    poke(bytes, setup::kBootFlag, std::uint16_t{0xaa55});
    poke(bytes, setup::kJumpOffset, std::uint8_t{0x6a});
    poke(bytes, setup::kMagic, std::uint32_t{0x53726448});
    poke(bytes, setup::kVersion, std::uint16_t{0x020f});
    poke(bytes, setup::kLoadFlags, std::uint8_t{1});
    poke(bytes, setup::kInitrdAddrMax, std::uint32_t{0x7fffffff});
    poke(bytes, setup::kKernelAlignment, std::uint32_t{2 * kMiB});
    poke(bytes, setup::kRelocatableKernel, std::uint8_t{1});
    poke(bytes, setup::kXLoadFlags, std::uint16_t{0x7f});
    poke(bytes, setup::kCmdlineSize, std::uint32_t{2047});
    poke(bytes, setup::kPayloadOffset, static_cast<std::uint32_t>(kPayload));
    poke(bytes, setup::kPayloadLength, static_cast<std::uint32_t>(payload.size()));
    poke(bytes, setup::kPrefAddress, std::uint64_t{TestElf::kLink});
    poke(bytes, setup::kInitSize, std::uint32_t{8 * kMiB});
    std::ranges::copy(payload, bytes.begin() + kKernel + kPayload);
    return bytes;
  }

  static SetupHeader setup_header() {
    const Bytes image = make({});
    SetupHeader header;
    std::copy_n(image.begin() + kSetupHeaderOffset, header.size(), header.begin());
    return header;
  }
};

// The file that the cache holds for such a kernel.
inline Bytes make_unpacked(std::span<const std::byte> payload) {
  UnpackedHeader header;
  header.setup = TestBzImage::setup_header();
  header.payload_bytes = payload.size();
  const auto page = header.encode();
  Bytes bytes(page.size() + payload.size());
  std::ranges::copy(page, bytes.begin());
  std::ranges::copy(payload, bytes.begin() + page.size());
  return bytes;
}

inline Bytes operator+(const Bytes& left, const Bytes& right) {
  Bytes both(left.size() + right.size());
  std::ranges::copy(right, std::ranges::copy(left, both.begin()).out);
  return both;
}

}  // namespace bulkhead::boot
