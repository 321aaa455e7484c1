// SPDX-License-Identifier: Apache-2.0
#include "mem/private_frames.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/mapping.h"
#include "mem/fake_host_for_test.h"

namespace bulkhead {
namespace {

std::unique_ptr<PrivateFrames> memfds() {
  return PrivateFrames::create(Backing::kMemfd).value();
}

std::byte byte_at(const Fd& file, std::uint64_t offset) {
  std::byte byte{0xff};
  EXPECT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  return byte;
}

void write_byte(const Fd& file, std::uint64_t offset, std::byte byte) {
  EXPECT_EQ(::pwrite(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
}

TEST(PrivateFrames, AreSealedAgainstTruncation) {
  const auto source = memfds();
  EXPECT_FALSE(source->covers_host());
  const Extent extent = source->take(4).value();
  EXPECT_EQ(extent.size_bytes(), 8 * kMiB);
  EXPECT_EQ(::ftruncate(extent.file.get(), 0), -1);
  EXPECT_EQ(::ftruncate(extent.file.get(), 16 * kMiB), -1);
  EXPECT_EQ(::fcntl(extent.file.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(byte_at(extent.file, 8 * kMiB - 1), std::byte{0});
}

TEST(PrivateFrames, AreNumberedFromZeroAndNumberedAgain) {
  const auto source = memfds();
  Extent a = source->take(4).value();
  Extent b = source->take(2).value();
  Extent c = source->take(4).value();
  EXPECT_EQ(a.first, FrameIndex(0));
  EXPECT_EQ(b.first, FrameIndex(4));
  EXPECT_EQ(c.first, FrameIndex(6));
  source->give_back(std::move(b));
  EXPECT_EQ(source->take(3).value().first, FrameIndex(10)) << "the gap is too small";
  EXPECT_EQ(source->take(2).value().first, FrameIndex(4));
  source->give_back(std::move(a));
  EXPECT_EQ(source->take(1).value().first, FrameIndex(0));
  EXPECT_EQ(source->take(0).error().code, Errc::kInvalidArgument);
  EXPECT_FALSE(source->take(~std::uint64_t{0}));
  EXPECT_FALSE(PrivateFrames::create(Backing::kCarved));
}

TEST(PrivateFrames, AreOverwrittenBeforeTheyGo) {
  const auto source = memfds();
  Extent extent = source->take(2).value();
  const Fd witness = extent.file.duplicate().value();
  write_byte(witness, 0, std::byte{1});
  write_byte(witness, 4 * kMiB - 1, std::byte{2});
  ASSERT_EQ(byte_at(witness, 4 * kMiB - 1), std::byte{2}) << "the control";
  source->give_back(std::move(extent));
  EXPECT_EQ(byte_at(witness, 0), std::byte{0});
  EXPECT_EQ(byte_at(witness, 4 * kMiB - 1), std::byte{0});
  struct stat status{};
  ASSERT_EQ(::fstat(witness.get(), &status), 0);
  EXPECT_EQ(status.st_blocks * 512, 2 * static_cast<blkcnt_t>(kPageSize))
      << "overwritten, not discarded, and nothing besides";
}

TEST(PrivateFrames, OfHugePagesAreOverwrittenToo) {
  const auto source = PrivateFrames::create(Backing::kHugetlb).value();
  Result<Extent> extent = source->take(2);
  if (!extent) GTEST_SKIP() << extent.error().what;
  const Fd witness = extent->file.duplicate().value();
  Result<Mapping> mapping = Mapping::create({.size_bytes = 4 * kMiB,
                                             .protection = PROT_READ | PROT_WRITE,
                                             .flags = MAP_SHARED,
                                             .fd = witness.get()});
  if (!mapping) GTEST_SKIP() << "no free 2 MiB pages here (vm.nr_hugepages)";
  mapping->bytes()[3 * kMiB] = std::byte{7};
  source->give_back(std::move(*extent));
  EXPECT_EQ(mapping->bytes()[3 * kMiB], std::byte{0});
}

TEST(PrivateFrames, FromACarvedRangeAreOverwrittenWhenTheyAreTaken) {
  FakeHost host;
  const std::string device = host.device();
  const Fd memory = Fd::open(device.c_str(), O_RDONLY).value();
  const auto source = PrivateFrames::create_carved(host.range(), device.c_str());
  ASSERT_EQ(byte_at(memory, FakeHost::kBase), std::byte{0xee}) << "the control: old data";
  Extent extent = source->take(31).value();
  EXPECT_EQ(extent.file_offset, FakeHost::kBase);
  EXPECT_EQ(extent.backing, Backing::kCarved);
  EXPECT_EQ(byte_at(memory, FakeHost::kBase), std::byte{0});
  EXPECT_EQ(byte_at(memory, FakeHost::kBase + 31 * kFrameSize - 1), std::byte{0});
  EXPECT_EQ(byte_at(memory, FakeHost::kBase + 31 * kFrameSize), std::byte{0xee});
  EXPECT_EQ(byte_at(memory, FakeHost::kBase - 1), std::byte{0xee});
  EXPECT_EQ(source->take(2).error().code, Errc::kExhausted);
  EXPECT_EQ(source->take(1).value().file_offset, FakeHost::kBase + 31 * kFrameSize);
}

}  // namespace
}  // namespace bulkhead
