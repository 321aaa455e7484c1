// SPDX-License-Identifier: Apache-2.0
#include "mem/dma_space.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

namespace bulkhead {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;

// Bus page n is guest page (last - n): neighbours on the bus are never neighbours in memory.
class BackwardsTranslator : public DmaTranslator {
 public:
  static constexpr std::uint64_t kPages = 2048;

  Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess access) const override {
    const std::uint64_t page = from.value() / kPageSize;
    const std::uint64_t offset = from.value() % kPageSize;
    if (page >= kPages || (access == DmaAccess::kWrite && page == read_only_page)) {
      return Error{Errc::kPermission, 0, "not mapped"};
    }
    return DmaRun{Gpa((kPages - 1 - page) * kPageSize + offset),
                  std::min(length, kPageSize - offset)};
  }

  std::uint64_t read_only_page = ~std::uint64_t{0};
};

class DmaSpaceTest : public testing::Test {
 protected:
  std::vector<std::byte> pattern(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 11 + 3);
    return bytes;
  }
  std::size_t count_dirty() {
    std::size_t count = 0;
    for (const std::uint64_t word : memory_->take_dirty_log(memory_->regions()[0])) {
      count += static_cast<std::size_t>(std::popcount(word));
    }
    return count;
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = kSize}).value();
  BackwardsTranslator translator_;
  DmaSpace direct_{*memory_};
  DmaSpace scattered_{*memory_, &translator_};
};

TEST_F(DmaSpaceTest, WithoutATranslatorItIsGuestMemory) {
  const auto bytes = pattern(5'000);
  ASSERT_TRUE(direct_.write(DmaAddr(100), bytes));
  std::vector<std::byte> got(bytes.size());
  ASSERT_TRUE(memory_->read(Gpa(100), got));
  EXPECT_EQ(got, bytes);
  EXPECT_FALSE(direct_.write(DmaAddr(kSize - 1), pattern(2)));
  EXPECT_FALSE(direct_.write(DmaAddr(~std::uint64_t{0}), pattern(2)));
  EXPECT_FALSE(direct_.load<std::uint16_t>(DmaAddr(kSize)));
}

TEST_F(DmaSpaceTest, FollowsTheTranslatorPageByPage) {
  const auto bytes = pattern(3 * kPageSize);
  ASSERT_TRUE(scattered_.write(DmaAddr(10), bytes));
  std::vector<std::byte> got(bytes.size());
  ASSERT_TRUE(scattered_.read(DmaAddr(10), got));
  EXPECT_EQ(got, bytes);
  std::vector<std::byte> page(kPageSize);
  ASSERT_TRUE(memory_->read(Gpa((BackwardsTranslator::kPages - 2) * kPageSize), page));
  EXPECT_TRUE(std::equal(page.begin(), page.end(), bytes.begin() + kPageSize - 10));
}

TEST_F(DmaSpaceTest, TellsReadsFromWrites) {
  translator_.read_only_page = 1;
  std::array<std::byte, 4> bytes{};
  EXPECT_TRUE(scattered_.read(DmaAddr(kPageSize), bytes));
  EXPECT_FALSE(scattered_.write(DmaAddr(kPageSize), bytes));
  EXPECT_TRUE(scattered_.reachable({DmaAddr(0), 8192}, DmaAccess::kRead));
  EXPECT_FALSE(scattered_.reachable({DmaAddr(0), 8192}, DmaAccess::kWrite));
  EXPECT_FALSE(scattered_.store<std::uint32_t>(DmaAddr(kPageSize), 1));
  EXPECT_FALSE(scattered_.discard({DmaAddr(kPageSize), 4096}));
}

TEST_F(DmaSpaceTest, ReachabilityCountsTheLastByte) {
  EXPECT_TRUE(direct_.reachable({DmaAddr(kSize - 4), 4}, DmaAccess::kWrite));
  EXPECT_FALSE(direct_.reachable({DmaAddr(kSize - 4), 5}, DmaAccess::kWrite));
  EXPECT_TRUE(direct_.reachable({DmaAddr(kSize + 4), 0}, DmaAccess::kWrite));
  EXPECT_FALSE(direct_.reachable({DmaAddr(~std::uint64_t{0}), 2}, DmaAccess::kRead));
}

TEST_F(DmaSpaceTest, ReadersCrossSegmentsAndSkipEmptyOnes) {
  const auto bytes = pattern(10);
  ASSERT_TRUE(memory_->write(Gpa(0), std::span(bytes).first(3)));
  ASSERT_TRUE(memory_->write(Gpa(500), std::span(bytes).subspan(3)));
  const DmaSegment segments[] = {
      {DmaAddr(9), 0}, {DmaAddr(0), 3}, {DmaAddr(kSize), 0}, {DmaAddr(500), 7}, {DmaAddr(1), 0}};
  DmaReader reader(direct_, segments);
  EXPECT_EQ(reader.remaining(), 10u);
  std::array<std::byte, 4> four{};
  ASSERT_TRUE(reader.read(four));
  EXPECT_TRUE(std::equal(four.begin(), four.end(), bytes.begin()));
  reader.skip(1);
  std::array<std::byte, 5> five{};
  ASSERT_TRUE(reader.read(five));
  EXPECT_TRUE(std::equal(five.begin(), five.end(), bytes.begin() + 5));
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_EQ(reader.read<std::uint8_t>().error().code, Errc::kTruncated);
}

TEST_F(DmaSpaceTest, AReadOfTooMuchTakesNothing) {
  const DmaSegment segments[] = {{DmaAddr(0), 3}};
  DmaReader reader(direct_, segments);
  EXPECT_EQ(reader.read<std::uint32_t>().error().code, Errc::kTruncated);
  EXPECT_EQ(reader.remaining(), 3u);
  DmaWriter writer(direct_, segments);
  EXPECT_EQ(writer.write_value(std::uint32_t{1}).error().code, Errc::kTruncated);
  EXPECT_EQ(writer.remaining(), 3u);
}

TEST_F(DmaSpaceTest, SegmentsOutsideOfRamAreErrors) {
  const DmaSegment segments[] = {{DmaAddr(kSize - 2), 4}};
  EXPECT_EQ(DmaReader(direct_, segments).read<std::uint32_t>().error().code, Errc::kOutOfRange);
  EXPECT_EQ(DmaWriter(direct_, segments).write_value(std::uint32_t{1}).error().code,
            Errc::kOutOfRange);
  const Fd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(DmaReader(direct_, segments).write_to(file.get(), 4).error().code, Errc::kOutOfRange);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 0);
}

TEST_F(DmaSpaceTest, MovesBytesToAndFromFiles) {
  const auto bytes = pattern(9'000);
  ASSERT_TRUE(scattered_.write(DmaAddr(100), bytes));
  const Fd file(::memfd_create("test", MFD_CLOEXEC));
  const DmaSegment source[] = {{DmaAddr(100), 4'000}, {DmaAddr(4'100), 5'000}};
  DmaReader reader(scattered_, source);
  const std::array<std::byte, 2> prefix = {std::byte{0xaa}, std::byte{0xbb}};
  EXPECT_EQ(reader.write_to(file.get(), 8'000, prefix).value(), 8'002u);
  EXPECT_EQ(reader.remaining(), 1'000u);
  std::vector<std::byte> got(8'002);
  ASSERT_EQ(::pread(file.get(), got.data(), got.size(), 0), 8'002);
  EXPECT_EQ(got[1], std::byte{0xbb});
  EXPECT_TRUE(std::equal(got.begin() + 2, got.end(), bytes.begin()));

  ASSERT_EQ(::lseek(file.get(), 2, SEEK_SET), 2);
  const DmaSegment target[] = {{DmaAddr(1 * kMiB), 1}, {DmaAddr(2 * kMiB - 3), 9'000}};
  DmaWriter writer(scattered_, target);
  memory_->start_dirty_log();
  EXPECT_EQ(writer.read_from(file.get(), 10'000).value(), 8'000u);
  EXPECT_EQ(writer.remaining(), 1'001u);
  EXPECT_GE(count_dirty(), 4u);
  got.resize(7'999);
  ASSERT_TRUE(scattered_.read(DmaAddr(2 * kMiB - 3), got));
  EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes.begin() + 1));
  EXPECT_EQ(writer.read_from(file.get(), 10'000).value(), 0u) << "the end of the file";
}

TEST_F(DmaSpaceTest, RefusesMorePiecesThanTheKernelTakes) {
  const Fd file(::memfd_create("test", MFD_CLOEXEC));
  const DmaSegment most[] = {{DmaAddr(0), kPageSize * DmaSpace::kMaxVectors}};
  EXPECT_EQ(DmaReader(scattered_, most).write_to(file.get(), ~std::uint64_t{0}).value(),
            kPageSize * DmaSpace::kMaxVectors);
  const DmaSegment more[] = {{DmaAddr(1), kPageSize * DmaSpace::kMaxVectors}};
  EXPECT_EQ(DmaReader(scattered_, more).write_to(file.get(), ~std::uint64_t{0}).error().code,
            Errc::kExhausted);
}

TEST_F(DmaSpaceTest, DiscardGoesThroughTheTranslator) {
  const auto bytes = pattern(2 * kPageSize);
  ASSERT_TRUE(scattered_.write(DmaAddr(0), bytes));
  ASSERT_TRUE(scattered_.discard({DmaAddr(kPageSize), kPageSize}));
  std::vector<std::byte> got(2 * kPageSize);
  ASSERT_TRUE(scattered_.read(DmaAddr(0), got));
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + kPageSize, bytes.begin()));
  EXPECT_EQ(got[kPageSize], std::byte{0});
  EXPECT_EQ(got[2 * kPageSize - 1], std::byte{0});
}

}  // namespace
}  // namespace bulkhead
