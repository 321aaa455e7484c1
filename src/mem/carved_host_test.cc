// SPDX-License-Identifier: Apache-2.0
// Carved memory of the machine itself, which tests/lab/test-frames has: SIZE@ADDRESS of a range
// that nobody uses comes in BULKHEAD_CARVED. All of its content is lost.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/mapping.h"
#include "mem/frame_pool.h"
#include "mem/guest_memory.h"
#include "mem/private_frames.h"

namespace bulkhead {
namespace {

using Open = FramePool::Open;

class CarvedHostTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* name = std::getenv("BULKHEAD_CARVED");
    if (name == nullptr) GTEST_SKIP() << "BULKHEAD_CARVED names no carved memory of this host";
    const Result<CarvedRange> range = CarvedRange::parse(name);
    ASSERT_TRUE(range) << range.error().what;
    range_ = *range;
    all_ = {FrameIndex(0), range->frames()};
  }

  // What lies in the machine's memory, past all that we hold.
  std::byte at(std::uint64_t offset) const {
    const Fd memory = Fd::open("/dev/mem", O_RDONLY).value();
    const Mapping page = Mapping::create({.size_bytes = kPageSize,
                                          .protection = PROT_READ,
                                          .flags = MAP_SHARED,
                                          .fd = memory.get(),
                                          .offset = range_->base() + align_down(offset, kPageSize)})
                             .value();
    return page.bytes()[offset % kPageSize];
  }

  std::optional<CarvedRange> range_;
  FrameRun all_;
};

TEST_F(CarvedHostTest, OnlyTheRangeItselfIsAccepted) {
  const std::uint64_t base = range_->base();
  const std::uint64_t size = range_->size_bytes();
  EXPECT_TRUE(CarvedRange::check(base, size)) << "the control";
  EXPECT_FALSE(CarvedRange::check(base - kFrameSize, kFrameSize));
  EXPECT_FALSE(CarvedRange::check(base - kFrameSize, size));
  EXPECT_FALSE(CarvedRange::check(base + size, kFrameSize));
  EXPECT_FALSE(CarvedRange::check(base, size + kFrameSize));
  EXPECT_FALSE(CarvedRange::check(0, kFrameSize));
  EXPECT_FALSE(CarvedRange::check(0xfec00000, kFrameSize)) << "the IOAPIC";
}

TEST_F(CarvedHostTest, ThePoolReachesEveryFrameAndScrubsIt) {
  const auto pool = create_carved_pool(*range_).value();
  EXPECT_FALSE(pool->open_extent(all_, Open::kNew)) << "not scrubbed since the machine started";
  ASSERT_TRUE(pool->scrub(all_));
  const Extent extent = pool->open_extent(all_, Open::kNew).value();
  const Mapping mapping = Mapping::create({.size_bytes = extent.size_bytes(),
                                           .protection = PROT_READ | PROT_WRITE,
                                           .flags = MAP_SHARED,
                                           .fd = extent.file.get(),
                                           .offset = extent.file_offset})
                              .value();
  for (std::uint64_t offset = 0; offset < mapping.size(); offset += kPageSize) {
    ASSERT_EQ(mapping.bytes()[offset], std::byte{0}) << offset;
    mapping.bytes()[offset] = std::byte{0x5a};
  }
  EXPECT_EQ(at(0), std::byte{0x5a});
  EXPECT_EQ(at(range_->size_bytes() - kPageSize), std::byte{0x5a});
  ASSERT_TRUE(pool->remove(all_));
  EXPECT_EQ(at(0), std::byte{0x5a}) << "the control: removing destroys nothing";
  ASSERT_TRUE(pool->scrub(all_));
  for (std::uint64_t offset = 0; offset < mapping.size(); offset += kPageSize) {
    ASSERT_EQ(mapping.bytes()[offset], std::byte{0}) << offset;
  }
}

// The type of memory that the processor was told; debugfs has it.
TEST_F(CarvedHostTest, IsCached) {
  const auto source = PrivateFrames::create_carved(*range_);
  const auto memory = GuestMemory::create({.size_bytes = range_->size_bytes()}, *source);
  ASSERT_TRUE(memory) << memory.error().what;
  std::ifstream list("/sys/kernel/debug/x86/pat_memtype_list");
  if (!list) GTEST_SKIP() << "no debugfs here";
  char wanted[32];
  std::snprintf(wanted, sizeof(wanted), "0x%016llx-",
                static_cast<unsigned long long>(range_->base()));
  std::string found;
  for (std::string line; std::getline(list, line);) {
    if (line.find(wanted) != std::string::npos) found = line;
  }
  EXPECT_NE(found.find("write-back"), std::string::npos) << found;
}

TEST_F(CarvedHostTest, GuestMemoryIsMadeOfItAndLeavesNothing) {
  const auto source = PrivateFrames::create_carved(*range_);
  auto memory = GuestMemory::create({.size_bytes = range_->size_bytes()}, *source).value();
  const std::uint64_t last = range_->size_bytes() - 8;
  ASSERT_TRUE(memory->store<std::uint64_t>(Gpa(0), ~0ULL));
  ASSERT_TRUE(memory->store<std::uint64_t>(Gpa(last), ~0ULL));
  EXPECT_EQ(at(0), std::byte{0xff});
  EXPECT_EQ(at(last), std::byte{0xff});
  const Fd zero = Fd::open("/dev/zero", O_RDONLY).value();
  ASSERT_TRUE(memory->copy_from_fd(Gpa(0), 4, zero.get(), 0)) << "the kernel reaches it, too";
  EXPECT_EQ(at(0), std::byte{0});
  EXPECT_EQ(at(4), std::byte{0xff});
  ASSERT_TRUE(memory->discard(Gpa(0), kPageSize));
  EXPECT_EQ(at(4), std::byte{0});
  memory.reset();
  EXPECT_EQ(at(last), std::byte{0});
}

}  // namespace
}  // namespace bulkhead
