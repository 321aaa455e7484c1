// SPDX-License-Identifier: Apache-2.0
#include "mem/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

namespace bulkhead {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;

std::unique_ptr<GuestMemory> small() {
  return GuestMemory::create({.size_bytes = kSize}).value();
}

// Sparse: costs address space only.
std::unique_ptr<GuestMemory> split() {
  return GuestMemory::create({.size_bytes = 3 * kGiB + 64 * kMiB}).value();
}

std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

Fd file_with(std::span<const std::byte> bytes) {
  Fd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  return file;
}

TEST(GuestMemory, RefusesSizesThatItCannotHave) {
  for (const std::uint64_t size : {std::uint64_t{0}, kSize - 2 * kMiB, kSize + 4 * kKiB,
                                   1024 * kGiB + 2 * kMiB, ~std::uint64_t{0}}) {
    const auto memory = GuestMemory::create({.size_bytes = size});
    ASSERT_FALSE(memory) << size;
    EXPECT_EQ(memory.error().code, Errc::kInvalidArgument);
  }
}

TEST(GuestMemory, StartsAsZeroAndReturnsWhatWasWritten) {
  auto memory = small();
  std::vector<std::byte> got(4096, std::byte{0xff});
  ASSERT_TRUE(memory->read(Gpa(0), got));
  EXPECT_EQ(got, std::vector<std::byte>(4096));
  const auto bytes = pattern(10'000);
  ASSERT_TRUE(memory->write(Gpa(12'345), bytes));
  got.resize(bytes.size());
  ASSERT_TRUE(memory->read(Gpa(12'345), got));
  EXPECT_EQ(got, bytes);
  ASSERT_TRUE(memory->zero(Gpa(12'346), 2));
  ASSERT_TRUE(memory->read(Gpa(12'345), got));
  EXPECT_EQ(got[0], bytes[0]);
  EXPECT_EQ(got[1], std::byte{0});
  EXPECT_EQ(got[2], std::byte{0});
  EXPECT_EQ(got[3], bytes[3]);
}

TEST(GuestMemory, RefusesRangesThatLeaveRam) {
  auto memory = small();
  std::array<std::byte, 16> bytes{};
  EXPECT_TRUE(memory->write(Gpa(kSize - 16), bytes));
  for (const std::uint64_t base :
       {kSize - 15, kSize, 3 * kGiB, 4 * kGiB, ~std::uint64_t{0} - 7, ~std::uint64_t{0}}) {
    EXPECT_EQ(memory->read(Gpa(base), bytes).error().code, Errc::kOutOfRange) << base;
    EXPECT_EQ(memory->write(Gpa(base), bytes).error().code, Errc::kOutOfRange) << base;
    EXPECT_FALSE(memory->zero(Gpa(base), 16)) << base;
    EXPECT_FALSE(memory->discard(Gpa(base), 16)) << base;
  }
  EXPECT_FALSE(memory->contains(Gpa(1), ~std::uint64_t{0}));
  EXPECT_FALSE(memory->zero(Gpa(4096), ~std::uint64_t{0} - 4095));
  EXPECT_TRUE(memory->contains(Gpa(0), kSize));
}

TEST(GuestMemory, EmptyAccessesAreAllowedWithinRam) {
  auto memory = small();
  EXPECT_TRUE(memory->read(Gpa(0), {}));
  EXPECT_TRUE(memory->write(Gpa(kSize), {}));
  EXPECT_FALSE(memory->write(Gpa(kSize + 1), {}));
}

TEST(GuestMemory, LeavesTheHoleBelowFourGiB) {
  auto memory = split();
  ASSERT_EQ(memory->regions().size(), 2u);
  EXPECT_EQ(memory->regions()[1].base, Gpa(4 * kGiB));
  EXPECT_EQ(memory->regions()[1].size_bytes, 64 * kMiB);
  EXPECT_EQ(memory->regions()[1].ram_offset, 3 * kGiB);
  EXPECT_EQ(memory->regions()[1].host.value() - memory->regions()[0].host.value(), 3 * kGiB);
  const auto bytes = pattern(64);
  EXPECT_TRUE(memory->write(Gpa(4 * kGiB), bytes));
  EXPECT_TRUE(memory->write(Gpa(3 * kGiB - 64), bytes));
  EXPECT_FALSE(memory->write(Gpa(3 * kGiB - 63), bytes)) << "crosses into the hole";
  EXPECT_FALSE(memory->write(Gpa(4 * kGiB - 1), bytes));
  EXPECT_FALSE(memory->write(Gpa(4 * kGiB + 64 * kMiB - 63), bytes));
  std::vector<std::byte> got(64);
  ASSERT_TRUE(memory->read(Gpa(4 * kGiB), got));
  EXPECT_EQ(got, bytes);
}

TEST(GuestMemory, LoadsAndStoresAlignedIntegersOnly) {
  auto memory = small();
  ASSERT_TRUE(memory->store<std::uint32_t>(Gpa(0x1000), 0x11223344));
  EXPECT_EQ(memory->load<std::uint32_t>(Gpa(0x1000)).value(), 0x11223344u);
  EXPECT_EQ(memory->load<std::uint16_t>(Gpa(0x1002)).value(), 0x1122u);
  EXPECT_FALSE(memory->load<std::uint32_t>(Gpa(0x1002)));
  EXPECT_FALSE(memory->store<std::uint64_t>(Gpa(0x1004), 1));
  EXPECT_FALSE(memory->load<std::uint64_t>(Gpa(kSize)));
  EXPECT_FALSE(memory->load<std::uint64_t>(Gpa(~std::uint64_t{7})));
}

TEST(GuestMemory, CopiesFromFiles) {
  auto memory = small();
  const auto bytes = pattern(20'000);
  const Fd file = file_with(bytes);
  ASSERT_TRUE(memory->copy_from_fd(Gpa(777), 15'000, file.get(), 5'000));
  std::vector<std::byte> got(15'000);
  ASSERT_TRUE(memory->read(Gpa(777), got));
  EXPECT_TRUE(std::ranges::equal(got, std::span(bytes).subspan(5'000)));
  EXPECT_EQ(memory->copy_from_fd(Gpa(0), 15'001, file.get(), 5'000).error().code, Errc::kTruncated);
  EXPECT_EQ(memory->copy_from_fd(Gpa(kSize - 1), 2, file.get(), 0).error().code, Errc::kOutOfRange);
  EXPECT_FALSE(memory->copy_from_fd(Gpa(0), 1, file.get(), ~std::uint64_t{0}));
  EXPECT_FALSE(memory->copy_from_fd(Gpa(0), 1, -1, 0));
}

TEST(GuestMemory, GivesWholePagesBack) {
  auto memory = small();
  const auto bytes = pattern(3 * kPageSize);
  ASSERT_TRUE(memory->write(Gpa(kPageSize), bytes));
  ASSERT_TRUE(memory->discard(Gpa(kPageSize + 1), 2 * kPageSize));  // one whole page
  std::vector<std::byte> got(bytes.size());
  ASSERT_TRUE(memory->read(Gpa(kPageSize), got));
  EXPECT_EQ(got[kPageSize - 1], bytes[kPageSize - 1]);
  EXPECT_TRUE(std::all_of(got.begin() + kPageSize, got.begin() + 2 * kPageSize,
                          [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE(std::equal(got.begin() + 2 * kPageSize, got.end(), bytes.begin() + 2 * kPageSize));
}

TEST(GuestMemory, PopulatesHugePagesWithoutChangingThem) {
  auto memory = small();
  ASSERT_TRUE(memory->store<std::uint64_t>(Gpa(2 * kMiB), 42));
  const std::uint64_t got = memory->populate_huge(Gpa(0), 8 * kMiB);
  EXPECT_LE(got, 8 * kMiB);
  EXPECT_EQ(got % (2 * kMiB), 0u);
  EXPECT_EQ(memory->load<std::uint64_t>(Gpa(2 * kMiB)).value(), 42u);
  EXPECT_EQ(memory->populate_huge(Gpa(kPageSize), 8 * kMiB), 0u);
  EXPECT_EQ(memory->populate_huge(Gpa(0), 2 * kSize), 0u);
}

std::vector<std::uint64_t> dirty_pages(GuestMemory& memory, std::size_t region = 0) {
  std::vector<std::uint64_t> pages;
  const auto log = memory.take_dirty_log(memory.regions()[region]);
  for (std::uint64_t page = 0; page < log.size() * 64; ++page) {
    if ((log[page / 64] >> (page % 64) & 1) != 0) pages.push_back(page);
  }
  return pages;
}

using Pages = std::vector<std::uint64_t>;

TEST(GuestMemory, NotesEveryPageThatItChanges) {
  auto memory = small();
  ASSERT_TRUE(memory->write(Gpa(0), pattern(16)));
  memory->start_dirty_log();
  EXPECT_EQ(dirty_pages(*memory), Pages{}) << "changes before the log do not count";
  ASSERT_TRUE(memory->write(Gpa(kPageSize * 70 - 1), pattern(2)));
  ASSERT_TRUE(memory->store<std::uint16_t>(Gpa(kPageSize * 3), 1));
  ASSERT_TRUE(memory->zero(Gpa(kPageSize * 5 + 1), kPageSize));
  EXPECT_EQ(dirty_pages(*memory), (Pages{3, 5, 6, 69, 70}));
  EXPECT_EQ(dirty_pages(*memory), Pages{}) << "reading clears";
  const Fd file = file_with(pattern(100));
  EXPECT_FALSE(memory->copy_from_fd(Gpa(kPageSize * 9), 200, file.get(), 0));
  EXPECT_EQ(dirty_pages(*memory), Pages{9}) << "part of it came before the file ended";
  ASSERT_TRUE(memory->discard(Gpa(kPageSize * 11), kPageSize));
  ASSERT_TRUE(memory->write(Gpa(kSize - 1), pattern(1)));
  EXPECT_EQ(dirty_pages(*memory), (Pages{11, kSize / kPageSize - 1}));
  std::array<std::byte, 8> bytes{};
  ASSERT_TRUE(memory->read(Gpa(0), bytes));
  EXPECT_FALSE(memory->write(Gpa(kSize - 1), pattern(2)));
  EXPECT_TRUE(memory->write(Gpa(0), {}));
  EXPECT_EQ(dirty_pages(*memory), Pages{});
}

TEST(GuestMemory, KeepsTheLogsOfRegionsApart) {
  auto memory = split();
  memory->start_dirty_log();
  ASSERT_TRUE(memory->write(Gpa(4 * kGiB + kPageSize), pattern(1)));
  ASSERT_TRUE(memory->write(Gpa(3 * kGiB - 1), pattern(1)));
  EXPECT_EQ(dirty_pages(*memory, 1), Pages{1});
  EXPECT_EQ(dirty_pages(*memory, 0), Pages{3 * kGiB / kPageSize - 1});
}

TEST(GuestMemory, IsAlignedForHugePages) {
  EXPECT_EQ(small()->regions()[0].host.value() % GuestMemory::kHugePage, 0u);
}

}  // namespace
}  // namespace bulkhead
