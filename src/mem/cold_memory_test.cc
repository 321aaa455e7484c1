// SPDX-License-Identifier: Apache-2.0
#include "mem/cold_memory.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <thread>

#include "mem/cold_memory_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 2048;
// What the fault threads may open beyond the limit at one moment.
constexpr std::uint64_t kSlack = 2 * ColdRange::kMaxRun;

TEST_F(ColdMemoryTest, KeepsContentAndLimit) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  std::uint64_t most = 0;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(ram.cell(page), 0u);
    ram.cell(page) = page + 1;
    most = std::max(most, ram.resident());
  }
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      ASSERT_EQ(ram.cell(page), page + 1);
      most = std::max(most, ram.resident());
    }
  }
  EXPECT_LE(most, kLimit + kSlack);
  const ColdStats stats = cold->stats();
  EXPECT_GE(stats.zero_faults, kPages);
  EXPECT_GE(stats.put, kPages - kLimit);
  EXPECT_GT(stats.open_faults, 0u);
  EXPECT_GT(stats.prefetch_hits, 0u);
  EXPECT_EQ(stats.over_limit, 0u);
  EXPECT_EQ(stats.host_errors, 0u);
  EXPECT_EQ(vault_.overlaps, 0);
}

TEST_F(ColdMemoryTest, WithoutItMemoryExceedsTheLimit) {
  const TestRam ram(kPages);
  fill(ram);
  EXPECT_EQ(ram.resident(), kPages);
}

TEST_F(ColdMemoryTest, AdoptsWhatMemoryHolds) {
  const TestRam ram(kPages, 16);
  fill(ram);
  const auto cold = make(ram);
  while (cold->stats().resident > kLimit) std::this_thread::yield();
  expect_filled(ram);
  EXPECT_GT(cold->stats().put, 0u);
}

TEST_F(ColdMemoryTest, DropsCleanPagesWithoutSealingThemAgain) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  if (!cold->keeps_copies()) GTEST_SKIP() << "Linux before 6.4";
  fill(ram);
  expect_filled(ram);
  const std::uint64_t put = cold->stats().put;
  for (int round = 0; round < 3; ++round) expect_filled(ram);
  EXPECT_GT(cold->stats().dropped_clean, 2 * (kPages - kLimit - kSlack));
  EXPECT_LE(cold->stats().put, put + kLimit + kSlack);  // those that were still dirty
  fill(ram, 7);  // and the first write to a clean page is seen
  expect_filled(ram, 7);
}

TEST_F(ColdMemoryTest, KeepsNoCopiesIfToldSo) {
  const TestRam ram(kPages);
  const auto cold = make(ram, {.keep_copies = false});
  fill(ram);
  for (int round = 0; round < 2; ++round) expect_filled(ram);
  EXPECT_EQ(cold->stats().dropped_clean, 0u);
  ASSERT_TRUE(cold->seal_all());
  EXPECT_EQ(vault_.size(), kPages);
  cold->resume();
  expect_filled(ram);
  EXPECT_LE(vault_.size(), kPages);
}

TEST_F(ColdMemoryTest, ZeroPagesAreNotSealed) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  for (std::uint64_t page = 0; page < kPages; ++page) ram.cell(page) = 0;
  ASSERT_TRUE(cold->seal_all());
  EXPECT_EQ(vault_.size(), 0u);
  EXPECT_EQ(ram.resident(), 0u);
  cold->resume();
  EXPECT_EQ(ram.cell(5), 0u);
}

TEST_F(ColdMemoryTest, ServesFaultsOfTheKernel) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  fill(ram);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(::write(in.get(), ram.at(page), 8), 8);
    ASSERT_EQ(::read(out.get(), ram.at(kPages - 1 - page) + 64, 8), 8);
  }
  for (std::uint64_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(ram.cell(page, 1), kPages - page);
  }
}

TEST_F(ColdMemoryTest, PagesStayWhileTheVaultRefusesThem) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  vault_.refuses_puts = true;
  fill(ram);
  expect_filled(ram);
  EXPECT_GT(cold->stats().put_errors, 0u);
  EXPECT_GT(cold->stats().over_limit, 0u);
  EXPECT_EQ(ram.resident(), kPages);
  EXPECT_EQ(cold->seal_all().error().code, Errc::kBusy);
  cold->resume();
  expect_filled(ram);
  vault_.refuses_puts = false;
  ASSERT_TRUE(cold->seal_all());
  cold->resume();
  expect_filled(ram);
}

TEST_F(ColdMemoryTest, FailsClosed) {
  const TestRam ram(kPages);
  const auto cold = make(ram, {.prefetch = false});
  fill(ram);
  ASSERT_TRUE(cold->seal_all());
  vault_.break_page(77);
  cold->resume();
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  std::atomic<int> error = 0;
  std::thread reader([&] { error = ::write(in.get(), ram.at(77), 8) < 0 ? errno : -1; });
  observer_.failures.wait(0);
  EXPECT_EQ(observer_.failed_page, 77u);
  EXPECT_EQ(ram.cell(78), 79u);  // others go on until their owner stops them
  EXPECT_EQ(error, 0);           // and this one waits
  EXPECT_LT(ram.resident(), 16u);
  cold->release_faults();
  reader.join();
  EXPECT_EQ(error, EFAULT);
  EXPECT_LT(::write(in.get(), ram.at(77), 8), 0);  // for ever
  EXPECT_EQ(cold->stats().integrity_failures, 1u);
}

TEST_F(ColdMemoryTest, AFailureWhilePrefetchingCountsToo) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  fill(ram);
  ASSERT_TRUE(cold->seal_all());
  vault_.break_page(1002);
  cold->resume();
  // Many: two servers may see two faults the wrong way round, and then no stream.
  for (std::uint64_t page = 900; page < 1002; ++page) EXPECT_EQ(ram.cell(page), page + 1);
  observer_.failures.wait(0);
  EXPECT_EQ(observer_.failed_page, 1002u);
}

TEST_F(ColdMemoryTest, DiscardedPagesReadAsZero) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  fill(ram);
  ASSERT_TRUE(cold->discard({PageIndex(100), 1500}));
  EXPECT_LE(vault_.size(), 548u);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(ram.cell(page), page >= 100 && page < 1600 ? 0 : page + 1) << page;
  }
  ASSERT_TRUE(cold->discard({PageIndex(0), kPages}));
  EXPECT_EQ(ram.resident(), 0u);
  EXPECT_EQ(cold->stats().resident, 0u);
  EXPECT_EQ(cold->stats().sealed, 0u);
  EXPECT_EQ(vault_.size(), 0u);
}

TEST_F(ColdMemoryTest, PinnedPagesStay) {
  const TestRam ram(kPages);
  const auto cold = make(ram);
  const std::array<iovec, 1> pieces = {ram.piece(10, 5)};
  ASSERT_TRUE(cold->pin(pieces));
  fill(ram);
  expect_filled(ram);
  for (std::uint64_t page = 10; page < 15; ++page) {
    std::array<std::byte, 8> bytes{};  // the file has them: not sealed, whoever looks
    ASSERT_EQ(::pread(ram.file.get(), bytes.data(), 8, static_cast<off_t>(page * kPageSize)), 8);
    EXPECT_EQ(bytes[0], static_cast<std::byte>(page + 1));
  }
  EXPECT_EQ(cold->seal_all().error().code, Errc::kBusy);
  EXPECT_EQ(ram.resident(), 5u);
  cold->unpin(pieces);
  ASSERT_TRUE(cold->seal_all());
  EXPECT_EQ(ram.resident(), 0u);
  cold->resume();
  expect_filled(ram);
}

TEST_F(ColdMemoryTest, RangesComeAndGo) {
  const TestRam low(kPages);
  const TestRam high(kPages);
  const auto cold = make(low);
  ASSERT_TRUE(cold->add_range(high.extent(0x100000)));
  EXPECT_EQ(cold->add_range(high.extent(0x200000)).error().code, Errc::kExists);
  EXPECT_EQ(cold->add_range(TestRam(16).extent(kPages - 1)).error().code, Errc::kExists);
  fill(low);
  fill(high, 5);
  expect_filled(low);
  expect_filled(high, 5);
  EXPECT_LE(low.resident() + high.resident(), kLimit + kSlack);
  EXPECT_EQ(cold->remove_range(PageIndex(1)).error().code, Errc::kNotFound);
  ASSERT_TRUE(cold->remove_range(PageIndex(0)));
  EXPECT_LE(vault_.size(), kPages);
  expect_filled(high, 5);
  fill(low, 9);  // its own again, without limit
  EXPECT_EQ(low.resident(), kPages);
  ASSERT_TRUE(cold->add_range(low.extent(0)));
  expect_filled(low, 9);
  while (cold->stats().resident > kLimit) std::this_thread::yield();
  EXPECT_LE(low.resident() + high.resident(), kLimit + kSlack);
}

TEST_F(ColdMemoryTest, TheLimitCanMove) {
  const TestRam ram(kPages);
  const auto cold = make(ram, {.limit_pages = kPages + 64});
  fill(ram);
  EXPECT_EQ(ram.resident(), kPages);
  ASSERT_TRUE(cold->set_limit(kLimit));
  while (cold->stats().resident > kLimit) std::this_thread::yield();
  expect_filled(ram);
  EXPECT_FALSE(cold->set_limit(kLimit - 1));
}

TEST_F(ColdMemoryTest, HugePagesBecomeSmallOnes) {
  // File and mapping must meet at a huge page's boundary. The place of one that has just gone is
  // the one that the next gets.
  const std::uint64_t place = TestRam(1024).mapping.host().value();
  const TestRam ram(1024, place % (2 * kMiB) / kPageSize);
  const auto start = align_up(ram.mapping.host().value(), 2 * kMiB) - ram.mapping.host().value();
  fill(ram);
  if (::madvise(ram.mapping.data() + start, 2 * kMiB, 25 /* MADV_COLLAPSE */) != 0) {
    GTEST_SKIP() << "the host makes no huge page";
  }
  const auto cold = make(ram);
  expect_filled(ram);
  fill(ram, 3);
  expect_filled(ram, 3);
  ASSERT_TRUE(cold->seal_all());
  EXPECT_EQ(ram.resident(), 0u);
  cold->resume();
  expect_filled(ram, 3);
}

TEST_F(ColdMemoryTest, RefusesWhatItCannotManage) {
  const TestRam ram(256);
  const auto cold = make({.limit_pages = kLimit});
  ColdExtent odd = ram.extent();
  odd.size_bytes += 1;
  EXPECT_EQ(cold->add_range(odd).error().code, Errc::kInvalidArgument);
  ColdExtent other = ram.extent();
  const Fd zero = Fd::open("/dev/zero", O_RDWR).value();
  other.file = zero.get();
  EXPECT_FALSE(cold->add_range(other));
  EXPECT_FALSE(ColdMemory::create({.limit_pages = 1}, vault_, observer_));
  EXPECT_FALSE(ColdMemory::create({.limit_pages = kLimit, .fault_threads = 0}, vault_, observer_));
}

// A monitor dies while many of its threads wait for pages: nothing of it may stay behind.
TEST_F(ColdMemoryTest, CanBeKilledWithManyFaultsWaiting) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "the sanitizer knows no threads in a forked child";
#endif
#endif
  constexpr std::uint64_t kThreads = 1000;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const TestRam ram(kPages);
    const auto cold = make(ram);
    fill(ram);
    if (!cold->seal_all()) ::_exit(1);
    const auto touch = [](void* cell) -> void* {
      static_cast<std::atomic<std::uint64_t>*>(cell)->fetch_add(1);
      return nullptr;
    };
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * kKiB);
    for (std::uint64_t i = 0; i < kThreads; ++i) {
      pthread_t thread;
      if (::pthread_create(&thread, &small, touch, &ram.cell(i)) != 0) ::_exit(2);
    }
    if (::write(in.get(), "x", 1) != 1) ::_exit(3);
    for (;;) ::pause();
  }
  char ready = 0;
  ASSERT_EQ(::read(out.get(), &ready, 1), 1);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
}

}  // namespace
}  // namespace bulkhead
