// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "mem/cold_memory.h"
#include "mem/cold_memory_for_test.h"

namespace bulkhead {
namespace {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define BULKHEAD_SLOW_TEST 1
#endif
#endif
#ifdef BULKHEAD_SLOW_TEST
constexpr std::uint64_t kSteps = 6'000;
#else
constexpr std::uint64_t kSteps = 40'000;
#endif
constexpr std::uint64_t kPages = 1024;

// One user of memory. It has a cell of its own in every page, and knows what must be there.
class User {
 public:
  User(const TestRam& ram, std::uint64_t slot) : ram_(ram), slot_(slot), expected_(ram.pages) {}

  // Mostly a small hot part, so that pages also stay.
  std::uint64_t pick() {
    const std::uint64_t number = random_();
    return number % 4 == 0 ? number / 4 % ram_.pages : number / 4 % 64;
  }
  void touch() {
    const std::uint64_t page = pick();
    check(page, ram_.cell(page, slot_));
    if (random_() % 2 == 0) ram_.cell(page, slot_) = ++expected_[page];
  }
  // The same by read(2) and write(2): the kernel copies.
  void touch_by_kernel(int in, int out) {
    const std::uint64_t page = pick();
    std::uint64_t value = 0;
    std::byte* const place = ram_.at(page) + slot_ * 64;
    if (::write(in, place, 8) != 8 || ::read(out, &value, 8) != 8) ++lost_;
    check(page, value);
    value = ++expected_[page];
    if (::write(in, &value, 8) != 8 || ::read(out, place, 8) != 8) ++lost_;
  }
  void check_all() {
    for (std::uint64_t page = 0; page < ram_.pages; ++page) check(page, ram_.cell(page, slot_));
  }
  std::uint64_t lost() const { return lost_; }

 private:
  void check(std::uint64_t page, std::uint64_t seen) {
    if (seen != expected_[page]) ++lost_;
    expected_[page] = seen;  // count each loss once
  }

  const TestRam& ram_;
  std::uint64_t slot_;
  std::vector<std::uint64_t> expected_;
  std::uint64_t lost_ = 0;
  std::minstd_rand random_{static_cast<unsigned>(slot_ + 1)};
};

class ColdRaceTest : public ColdMemoryTest {
 protected:
  // How many writes three users lose. Stops early once some are lost.
  std::uint64_t count_lost(const ColdMemory::Options& options) {
    const TestRam ram(kPages);
    const auto cold = make(ram, options);
    std::vector<User> users;
    for (std::uint64_t slot = 0; slot < 3; ++slot) users.emplace_back(ram, slot);
    std::atomic<bool> lost = false;
    std::thread first([&] { use(users[0], lost); });
    std::thread second([&] { use(users[1], lost); });
    use_by_kernel(users[2], lost);
    first.join();
    second.join();
    std::uint64_t total = 0;
    for (User& user : users) {
      user.check_all();
      total += user.lost();
    }
    const ColdStats stats = cold->stats();
    EXPECT_EQ(stats.integrity_failures, 0u);
    EXPECT_EQ(stats.host_errors, 0u);
    EXPECT_EQ(vault_.overlaps, 0);
    EXPECT_GT(stats.put + stats.dropped_clean, 0u);
    return total;
  }

 private:
  static void use(User& user, std::atomic<bool>& lost) {
    for (std::uint64_t i = 0; i < kSteps && !lost; ++i) {
      user.touch();
      if (user.lost() > 0) lost = true;
    }
  }
  static void use_by_kernel(User& user, std::atomic<bool>& lost) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const Fd out(ends[0]);
    const Fd in(ends[1]);
    for (std::uint64_t i = 0; i < kSteps && !lost; ++i) user.touch_by_kernel(in.get(), out.get());
  }
};

TEST_F(ColdRaceTest, NoWriteIsLost) {
  EXPECT_EQ(count_lost({}), 0u);
}

TEST_F(ColdRaceTest, NoWriteIsLostWithoutCopies) {
  EXPECT_EQ(count_lost({.fault_threads = 4, .keep_copies = false}), 0u);
}

TEST_F(ColdRaceTest, WritesAreLostIfPagesAreSealedWhileMapped) {
  vault_.before_put = [](PageIndex) { std::this_thread::yield(); };  // one processor suffices
  EXPECT_GT(count_lost({.sabotage = {.seal_while_mapped = true}}), 0u);
}

TEST_F(ColdRaceTest, WritesAreLostIfCleanPagesAreWritable) {
  const auto cold = make({.limit_pages = kLimit});
  if (!cold->keeps_copies()) GTEST_SKIP() << "Linux before 6.4";
  EXPECT_GT(count_lost({.sabotage = {.lose_protection = true}}), 0u);
}

// A transfer in flight, as the kernel sees it: it has taken the frames, and will use them later.
class Transfer {
 public:
  explicit Transfer(iovec piece) : piece_(piece) {
    if (::io_uring_queue_init(4, &ring_, 0) != 0) return;
    started_ = ::io_uring_register_buffers(&ring_, &piece_, 1) == 0;
  }
  ~Transfer() { ::io_uring_queue_exit(&ring_); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  bool started() const { return started_; }
  // The data of `file` arrives in the frames.
  std::int64_t read_from(int file) {
    ::io_uring_prep_read_fixed(::io_uring_get_sqe(&ring_), file, piece_.iov_base, length(), 0, 0);
    return finish();
  }
  // The data of the frames arrives in `file`.
  std::int64_t write_to(int file) {
    ::io_uring_prep_write_fixed(::io_uring_get_sqe(&ring_), file, piece_.iov_base, length(), 0, 0);
    return finish();
  }

 private:
  unsigned length() const { return static_cast<unsigned>(piece_.iov_len); }
  std::int64_t finish() {
    ::io_uring_submit(&ring_);
    io_uring_cqe* entry = nullptr;
    if (::io_uring_wait_cqe(&ring_, &entry) != 0) return -1;
    const std::int64_t result = entry->res;
    ::io_uring_cqe_seen(&ring_, entry);
    return result;
  }

  iovec piece_;
  io_uring ring_{};
  bool started_ = false;
};

class ColdTransferTest : public ColdMemoryTest {
 protected:
  static constexpr std::uint64_t kPage = 20;
  struct Seen {
    std::uint64_t in_memory = 0;
    std::uint64_t on_disk = 0;
  };
  // What a transfer in each direction moves if all other memory is used during it.
  void transfer(const ColdMemory::Options& options, Seen& seen) {
    const TestRam ram(kPages);
    const auto cold = make(ram, options);
    fill(ram);
    const Fd disk(::memfd_create("disk", MFD_CLOEXEC));
    const std::uint64_t data = 4711;
    ASSERT_EQ(::ftruncate(disk.get(), kPageSize), 0);
    const std::array<iovec, 2> pieces = {ram.piece(kPage), ram.piece(kPage + 1)};
    ASSERT_TRUE(cold->pin(pieces));
    Transfer write(pieces[0]);
    Transfer read(pieces[1]);
    if (!write.started() || !read.started()) GTEST_SKIP() << "the host refuses io_uring";
    for (int round = 0; round < 4; ++round) {
      for (std::uint64_t page = 40; page < kPages; ++page) ++ram.cell(page);
    }
    ASSERT_EQ(write.write_to(disk.get()), static_cast<std::int64_t>(kPageSize));
    ASSERT_EQ(::pread(disk.get(), &seen.on_disk, 8, 0), 8);
    ASSERT_EQ(::pwrite(disk.get(), &data, 8, 0), 8);
    ASSERT_EQ(read.read_from(disk.get()), static_cast<std::int64_t>(kPageSize));
    cold->unpin(pieces);
    seen.in_memory = ram.cell(kPage + 1);
  }
};

TEST_F(ColdTransferTest, PinnedTransfersArrive) {
  Seen seen;
  transfer({}, seen);
  if (IsSkipped()) return;
  EXPECT_EQ(seen.on_disk, kPage + 1);
  EXPECT_EQ(seen.in_memory, 4711u);
}

TEST_F(ColdTransferTest, WithoutPinsTransfersAreLost) {
  Seen seen;
  transfer({.sabotage = {.ignore_pins = true}}, seen);
  if (IsSkipped()) return;
  EXPECT_EQ(seen.on_disk, 0u);            // the zeroes of the freed frame
  EXPECT_EQ(seen.in_memory, kPage + 2u);  // what the page held before
}

}  // namespace
}  // namespace bulkhead
