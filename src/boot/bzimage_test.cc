// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.h"

#include <gtest/gtest.h>

#include "boot/image_builder_for_test.h"

namespace bulkhead::boot {
namespace {

Result<BzImage> parse(const Bytes& bytes) {
  const Fd fd = make_file(bytes);
  return BzImage::parse(FileReader::create(fd.get()).value());
}

template <class T>
Errc error_with(std::size_t at, T value) {
  Bytes bytes = TestBzImage::make(Bytes(100));
  poke(bytes, at, value);
  const auto result = parse(bytes);
  EXPECT_FALSE(result) << "field at " << at;
  return result ? Errc::kIo : result.error().code;
}

TEST(BzImage, TellsWhereEverythingIs) {
  const BzImage image = parse(TestBzImage::make(Bytes(100))).value();
  EXPECT_EQ(image.kernel_offset, TestBzImage::kKernel);
  EXPECT_EQ(image.kernel_bytes, align_up(TestBzImage::kPayload + 100, 16));
  EXPECT_EQ(image.payload_offset, TestBzImage::kKernel + TestBzImage::kPayload);
  EXPECT_EQ(image.payload_bytes, 100U);
  EXPECT_EQ(image.pref_address, 16 * kMiB);
  EXPECT_EQ(image.init_size, 8 * kMiB);
  EXPECT_EQ(image.alignment, 2 * kMiB);
  EXPECT_EQ(image.initrd_addr_max, 0x7fffffffU);
  EXPECT_EQ(image.cmdline_size, 2047U);
  EXPECT_TRUE(image.relocatable);
}

TEST(BzImage, RefusesWhatItCannotStart) {
  EXPECT_EQ(error_with(setup::kBootFlag, std::uint16_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kMagic, std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kVersion, std::uint16_t{0x020b}), Errc::kUnsupported);
  EXPECT_EQ(error_with(setup::kLoadFlags, std::uint8_t{0}), Errc::kUnsupported);
  EXPECT_EQ(error_with(setup::kXLoadFlags, std::uint16_t{0}), Errc::kUnsupported);
}

TEST(BzImage, RefusesFieldsOutOfRange) {
  EXPECT_EQ(error_with(setup::kSysSize, std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kSysSize, ~std::uint32_t{0}), Errc::kTruncated);
  EXPECT_EQ(error_with(setup::kPayloadOffset, ~std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kPayloadLength, ~std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kKernelAlignment, std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kKernelAlignment, std::uint32_t{3 * kMiB}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kKernelAlignment, std::uint32_t{4096}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kPrefAddress, std::uint64_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kPrefAddress, ~std::uint64_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kPrefAddress, 16 * kMiB + 4096), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kInitSize, std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kInitSize, ~std::uint32_t{0}), Errc::kMalformed);
  EXPECT_EQ(error_with(setup::kInitSize, std::uint32_t{16}), Errc::kMalformed);
}

TEST(BzImage, RefusesEveryTruncation) {
  const Bytes whole = TestBzImage::make(Bytes(100));
  for (std::size_t size = 0; size < whole.size(); size += size < 0x300 ? 1 : 97) {
    const auto result = parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, Errc::kTruncated) << size;
  }
}

// A short header ends before the bytes that follow it in the file, which are code.
TEST(BzImage, TakesNoCodeForHeaderFields) {
  Bytes bytes = TestBzImage::make(Bytes(100));
  std::fill(bytes.begin() + 0x26c, bytes.begin() + 0x290, std::byte{0xcc});
  const BzImage image = parse(bytes).value();
  for (std::size_t at = 0x26c; at < kSetupHeaderEnd; ++at) {
    EXPECT_EQ(image.header[at - kSetupHeaderOffset], std::byte{0});
  }
  poke(bytes, setup::kJumpOffset, std::uint8_t{0x10});  // so short that nothing is left of it
  EXPECT_FALSE(parse(bytes));
}

}  // namespace
}  // namespace bulkhead::boot
