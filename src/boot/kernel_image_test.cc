// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel_image.h"

#include <gtest/gtest.h>

#include <string>

#include "boot/image_builder_for_test.h"

namespace bulkhead::boot {
namespace {

Result<KernelImage> probe(const Bytes& bytes) {
  const Fd fd = make_file(bytes);
  return KernelImage::probe(fd.get());
}

std::string why_not(std::string_view start, std::size_t offset = 0) {
  Bytes bytes(4096);
  std::memcpy(bytes.data() + offset, start.data(), start.size());
  const auto result = probe(bytes);
  return result ? "accepted" : result.error().what;
}

TEST(KernelImage, RecognisesItsThreeKinds) {
  EXPECT_EQ(probe(TestBzImage::make(Bytes(9))).value().kind(), KernelImage::Kind::kBzImage);
  EXPECT_EQ(probe(TestElf::make()).value().kind(), KernelImage::Kind::kElf);
  EXPECT_EQ(probe(make_unpacked(TestElf::make())).value().kind(), KernelImage::Kind::kUnpacked);
}

TEST(KernelImage, TellsTheMemoryItNeeds) {
  EXPECT_EQ(probe(TestBzImage::make(Bytes(9))).value().needed_bytes(), 24 * kMiB);
  const std::uint64_t end = TestElf::kLink + TestElf::kImageBytes;
  EXPECT_EQ(probe(TestElf::make()).value().needed_bytes(), end);
  EXPECT_EQ(probe(make_unpacked(TestElf::make())).value().needed_bytes(), end);
}

TEST(KernelImage, SaysWhatTheFileIsInstead) {
  EXPECT_NE(why_not("ARM\x64", 56).find("ARM64"), std::string::npos);
  EXPECT_NE(why_not("RISCV", 48).find("RISC-V"), std::string::npos);
  EXPECT_NE(why_not("zimg", 4).find("EFI"), std::string::npos);
  EXPECT_NE(why_not("\x1f\x8b").find("compressed"), std::string::npos);
  EXPECT_NE(why_not("070701").find("initrd"), std::string::npos);
  EXPECT_NE(why_not("#!/bin/sh").find("neither"), std::string::npos);
  EXPECT_NE(std::string(probe({}).error().what).find("empty"), std::string::npos);
}

TEST(KernelImage, NeedsAPvhNoteInAnElfFile) {
  Bytes bytes = TestElf::make();
  poke(bytes, TestElf::program_header(2), std::uint32_t{PT_NULL});
  const auto result = probe(bytes);
  ASSERT_FALSE(result);
  EXPECT_NE(std::string(result.error().what).find("PVH"), std::string::npos);
  EXPECT_TRUE(probe(make_unpacked(bytes)));  // is started by its other entry
}

TEST(KernelImage, RefusesWhatIsNotARegularFile) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd read(ends[0]);
  const Fd write(ends[1]);
  EXPECT_EQ(KernelImage::probe(read.get()).error().code, Errc::kInvalidArgument);
}

TEST(UnpackedFormat, KeepsWhatItIsGiven) {
  UnpackedHeader header;
  header.setup = TestBzImage::setup_header();
  header.payload_bytes = 10;
  header.payload_digest.fill(std::byte{0x5a});
  const auto page = header.encode();
  const Fd fd = make_file(Bytes(page.begin(), page.end()) + Bytes(10));
  const auto again = UnpackedHeader::parse(FileReader::create(fd.get()).value()).value();
  EXPECT_EQ(again.setup, header.setup);
  EXPECT_EQ(again.payload_bytes, 10U);
  EXPECT_EQ(again.payload_digest, header.payload_digest);
}

TEST(UnpackedFormat, RefusesFilesOfAnotherSize) {
  Bytes bytes = make_unpacked(TestElf::make());
  bytes.pop_back();
  EXPECT_EQ(probe(bytes).error().code, Errc::kTruncated);
  bytes.resize(bytes.size() + 2);
  EXPECT_EQ(probe(bytes).error().code, Errc::kTruncated);
  bytes.resize(100);
  EXPECT_EQ(probe(bytes).error().code, Errc::kTruncated);
}

TEST(UnpackedFormat, RefusesAnElfLinkedForElsewhere) {
  Bytes elf = TestElf::make();
  poke(elf, TestElf::program_header(0) + offsetof(Elf64_Phdr, p_paddr), 8 * kMiB);
  EXPECT_EQ(probe(make_unpacked(elf)).error().code, Errc::kMalformed);
}

}  // namespace
}  // namespace bulkhead::boot
