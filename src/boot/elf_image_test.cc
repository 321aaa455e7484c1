// SPDX-License-Identifier: Apache-2.0
#include "boot/elf_image.h"

#include <gtest/gtest.h>

#include "boot/image_builder_for_test.h"

namespace bulkhead::boot {
namespace {

Result<ElfImage> parse(const Bytes& bytes) {
  const Fd fd = make_file(bytes);
  return ElfImage::parse(FileReader::create(fd.get()).value());
}

template <class T>
Errc error_with(std::size_t at, T value) {
  Bytes bytes = TestElf::make();
  poke(bytes, at, value);
  const auto result = parse(bytes);
  EXPECT_FALSE(result) << "field at " << at;
  return result ? Errc::kIo : result.error().code;
}

constexpr std::size_t field_of_segment(std::size_t index, std::size_t field) {
  return TestElf::program_header(index) + field;
}

TEST(ElfImage, TellsSegmentsEntryAndNote) {
  const ElfImage image = parse(TestElf::make()).value();
  ASSERT_EQ(image.segments().size(), 2U);
  EXPECT_EQ(image.segments()[0].file_offset, TestElf::kText);
  EXPECT_EQ(image.segments()[0].file_bytes, TestElf::kTextBytes);
  EXPECT_EQ(image.segments()[0].memory_bytes, TestElf::kTextMemory);
  EXPECT_EQ(image.low(), TestElf::kLink);
  EXPECT_EQ(image.high(), TestElf::kLink + TestElf::kImageBytes);
  EXPECT_EQ(image.entry(), TestElf::kEntry);
  EXPECT_EQ(image.pvh_entry(), TestElf::kPvhEntry);
  EXPECT_EQ(image.file_end(), TestElf::make().size());
}

TEST(ElfImage, EndsBehindItsSectionHeaders) {
  Bytes bytes = TestElf::make();
  const std::uint64_t end = bytes.size();
  poke(bytes, offsetof(Elf64_Ehdr, e_shoff), end);
  poke(bytes, offsetof(Elf64_Ehdr, e_shnum), std::uint16_t{2});
  poke(bytes, offsetof(Elf64_Ehdr, e_shentsize), std::uint16_t{64});
  EXPECT_EQ(parse(bytes).value().file_end(), end);  // the table is missing
  bytes.resize(end + 500);
  EXPECT_EQ(parse(bytes).value().file_end(), end + 128);
}

TEST(ElfImage, RefusesOtherKindsOfElf) {
  EXPECT_EQ(error_with(0, std::uint8_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(EI_CLASS, std::uint8_t{ELFCLASS32}), Errc::kUnsupported);
  EXPECT_EQ(error_with(EI_DATA, std::uint8_t{ELFDATA2MSB}), Errc::kUnsupported);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_386}), Errc::kUnsupported);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_AARCH64}),
            Errc::kUnsupported);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_type), std::uint16_t{ET_REL}), Errc::kUnsupported);
}

TEST(ElfImage, RefusesBadProgramHeaderTables) {
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{65}), Errc::kMalformed);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_phentsize), std::uint16_t{32}), Errc::kMalformed);
  EXPECT_EQ(error_with(offsetof(Elf64_Ehdr, e_phoff), ~std::uint64_t{0}), Errc::kTruncated);
}

TEST(ElfImage, RefusesBadSegments) {
  const auto physical = offsetof(Elf64_Phdr, p_paddr);
  const auto memory = offsetof(Elf64_Phdr, p_memsz);
  const auto file = offsetof(Elf64_Phdr, p_filesz);
  const auto offset = offsetof(Elf64_Phdr, p_offset);
  EXPECT_EQ(error_with(field_of_segment(0, memory), std::uint64_t{1}), Errc::kMalformed);
  EXPECT_EQ(error_with(field_of_segment(0, memory), ~std::uint64_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(field_of_segment(0, physical), ~std::uint64_t{0} - 4096), Errc::kMalformed);
  EXPECT_EQ(error_with(field_of_segment(0, offset), ~std::uint64_t{0}), Errc::kTruncated);
  EXPECT_EQ(error_with(field_of_segment(0, offset), std::uint64_t{0x2001}), Errc::kTruncated);
  EXPECT_EQ(error_with(field_of_segment(0, file), TestElf::kTextMemory + 1), Errc::kMalformed);
  // The second one now starts in the last byte of the first, then ends in its first byte.
  EXPECT_EQ(error_with(field_of_segment(1, physical), TestElf::kLink + TestElf::kTextMemory - 1),
            Errc::kMalformed);
  EXPECT_EQ(error_with(field_of_segment(1, physical), TestElf::kLink - TestElf::kDataBytes + 1),
            Errc::kMalformed);
}

TEST(ElfImage, RefusesTooManySegments) {
  Bytes bytes(0x2000);
  const Bytes whole = TestElf::make();
  std::copy_n(whole.begin(), sizeof(Elf64_Ehdr), bytes.begin());
  const std::size_t count = ElfImage::kMaxSegments + 1;
  poke(bytes, offsetof(Elf64_Ehdr, e_phnum), static_cast<std::uint16_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    poke(bytes, TestElf::program_header(i), TestElf::load(0, kMiB * (i + 1), 16, 16));
  }
  EXPECT_EQ(parse(bytes).error().code, Errc::kMalformed);
  poke(bytes, offsetof(Elf64_Ehdr, e_phnum), static_cast<std::uint16_t>(count - 1));
  EXPECT_TRUE(parse(bytes));
}

TEST(ElfImage, RefusesEveryTruncation) {
  const Bytes whole = TestElf::make();
  for (std::size_t size = 4; size < whole.size(); size += size < 0x300 ? 1 : 97) {
    const auto result = parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, Errc::kTruncated) << size;
  }
}

// Whatever lengths the notes tell, the walk ends, and finds nothing that is not there.
TEST(ElfImage, SurvivesNotesThatLie) {
  for (std::uint32_t lie : {0U, 1U, 5U, 0x7fffffffU, 0xfffffffcU, 0xffffffffU}) {
    for (std::size_t at : {0U, 4U, 20U, 24U}) {
      Bytes bytes = TestElf::make();
      poke(bytes, TestElf::kNotes + at, lie);
      const auto image = parse(bytes);
      ASSERT_TRUE(image) << lie << " at " << at;
    }
  }
  Bytes bytes = TestElf::make();
  poke(bytes, TestElf::kNotes + 28, std::uint32_t{0});  // the second note's type
  EXPECT_FALSE(parse(bytes).value().pvh_entry());
  bytes = TestElf::make();
  poke(bytes, TestElf::kNotes + 32, 'Y');  // its name
  EXPECT_FALSE(parse(bytes).value().pvh_entry());
}

}  // namespace
}  // namespace bulkhead::boot
