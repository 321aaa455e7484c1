// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "mem/cold_memory.h"
#include "mem/cold_memory_for_test.h"
#include "mem/secret_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 2048;

TEST_F(ColdMemoryTest, SealAllLeavesNothing) {
  const Secret secret;
  const TestRam ram(kPages);
  const auto cold = make(ram);
  for (std::uint64_t page = 0; page < kPages; ++page) secret.write_to(ram.at(page) + 100);
  for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_NE(ram.at(page)[100], std::byte{0});
  ASSERT_TRUE(cold->seal_all());
  EXPECT_EQ(ram.resident(), 0u);
  EXPECT_EQ(::lseek(ram.file.get(), 0, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(cold->stats().sealed, kPages);
  EXPECT_FALSE(ProcessSearch::finds(secret, ram.mapping.bytes()));
  {
    // Control: the search finds what is there. Shared, so that it joins no mapping of a sanitizer.
    const Mapping stray = Mapping::create({.size_bytes = 2 * kPageSize,
                                           .protection = PROT_READ | PROT_WRITE,
                                           .flags = MAP_SHARED | MAP_ANONYMOUS})
                              .value();
    secret.write_to(stray.data() + 5000);
    EXPECT_TRUE(ProcessSearch::finds(secret, ram.mapping.bytes()));
  }
  cold->resume();
  EXPECT_NE(ram.at(9)[100], std::byte{0});
}

// Looks at the file in the moment between the overwriting and the freeing of a page: it cannot be
// caught from outside, so the frame is held by a pipe, as the kernel would see it after freeing.
TEST_F(ColdMemoryTest, FreedFramesHoldZeroes) {
  const TestRam ram(kPages);
  const auto cold = make(ram, {.limit_pages = kPages});
  fill(ram);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  const iovec piece = {ram.at(7), 8};
  ASSERT_EQ(::vmsplice(in.get(), &piece, 1, 0), 8);
  ASSERT_TRUE(cold->seal_all());
  std::uint64_t left = 1;
  ASSERT_EQ(::read(out.get(), &left, 8), 8);
  EXPECT_EQ(left, 0u);
  cold->resume();
  EXPECT_EQ(ram.cell(7), 8u);
}

TEST_F(ColdMemoryTest, HoldsFaultsUntilResumed) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  fill(ram);
  ASSERT_TRUE(cold->seal_all());
  std::atomic<bool> seen = false;
  std::thread reader([&] {
    EXPECT_EQ(ram.cell(3), 4u);
    seen = true;
  });
  // Nothing can be resident, however long the reader has been waiting.
  for (int i = 0; i < 100; ++i) std::this_thread::yield();
  EXPECT_FALSE(seen);
  EXPECT_EQ(ram.resident(), 0u);
  cold->resume();
  reader.join();
  expect_filled(ram);
  ASSERT_TRUE(cold->seal_all());  // and again
  EXPECT_EQ(ram.resident(), 0u);
  cold->resume();
  expect_filled(ram);
}

// The end of cold memory does not turn sealed pages into zeroes.
TEST_F(ColdMemoryTest, SealedPagesAreForbiddenAfterwards) {
  const TestRam ram(kPages);
  auto cold = make(ram);
  fill(ram);
  cold.reset();
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  EXPECT_EQ(::write(in.get(), ram.at(1), 8), -1);
  EXPECT_EQ(errno, EFAULT);
}

}  // namespace
}  // namespace bulkhead
