// SPDX-License-Identifier: Apache-2.0
#include "mem/io_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "mem/engine_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr std::uint64_t kFileSize = 4 * kMiB;

std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i >> 3) * 7 + seed);
  return bytes;
}

bool readable(int fd) {
  pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, 0) == 1;
}

// A file with a pattern, guest memory, and a ring between them.
class RingTest : public testing::Test {
 protected:
  RingTest() {
    EXPECT_EQ(::pwrite(file_.get(), content_.data(), content_.size(), 0),
              static_cast<ssize_t>(content_.size()));
  }

  // All completions of what is in flight.
  std::vector<IoCompletion> finish(IoRing& ring) {
    std::vector<IoCompletion> all;
    std::array<IoCompletion, 4> some;
    ring.submit();
    while (ring.in_flight() > 0) {
      ring.wait();
      const std::size_t count = ring.reap(some);
      all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    }
    std::ranges::sort(all, {}, &IoCompletion::tag);
    return all;
  }
  IoCompletion finish_one(IoRing& ring) {
    const auto all = finish(ring);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? IoCompletion{} : all[0];
  }
  std::vector<std::byte> memory_at(std::uint64_t address, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(memory_->read(Gpa(address), bytes));
    return bytes;
  }
  std::vector<std::byte> file_at(std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_EQ(::pread(file_.get(), bytes.data(), size, static_cast<off_t>(offset)),
              static_cast<ssize_t>(size));
    return bytes;
  }
  std::vector<std::byte> content_at(std::uint64_t offset, std::size_t size) {
    const auto start = content_.begin() + static_cast<std::ptrdiff_t>(offset);
    return {start, start + static_cast<std::ptrdiff_t>(size)};
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = kSize}).value();
  DmaSpace space_{*memory_};
  Fd file_{::memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  const std::vector<std::byte> content_ = pattern(kFileSize);
};

enum class Engine { kUring, kSync };

class IoRingTest : public RingTest, public testing::WithParamInterface<Engine> {
 protected:
  void SetUp() override {
    const auto make = GetParam() == Engine::kUring ? create_uring_engine : create_sync_engine;
    Result<std::unique_ptr<IoEngine>> engine = make(file_.get(), 16);
    if (!engine) GTEST_SKIP() << engine.error().what;
    ring_ = std::make_unique<IoRing>(std::move(*engine), 16);
  }

  std::unique_ptr<IoRing> ring_;
};

INSTANTIATE_TEST_SUITE_P(Engines, IoRingTest, testing::Values(Engine::kUring, Engine::kSync),
                         [](const auto& each) {
                           return each.param == Engine::kUring ? "Uring" : "Sync";
                         });

TEST_P(IoRingTest, ReadsIntoOneSegmentAndIntoMany) {
  const DmaSegment one[] = {{DmaAddr(4096), 8192}};
  const DmaSegment many[] = {{DmaAddr(1 * kMiB + 1), 1},
                             {DmaAddr(2 * kMiB), 0},
                             {DmaAddr(2 * kMiB - 100), 4000},
                             {DmaAddr(3 * kMiB), 500}};
  ASSERT_TRUE(ring_->queue_read(7, DmaWriter(space_, one), {512, 8192}));
  ASSERT_TRUE(ring_->queue_read(8, DmaWriter(space_, many), {1024, 4400}));
  EXPECT_EQ(ring_->in_flight(), 2u);
  const auto done = finish(*ring_);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].tag, 7u);
  EXPECT_EQ(done[0].bytes, 8192u);
  EXPECT_EQ(done[0].os_errno, 0);
  EXPECT_EQ(done[1].bytes, 4400u);
  EXPECT_EQ(memory_at(4096, 8192), content_at(512, 8192));
  EXPECT_EQ(memory_at(1 * kMiB + 1, 1), content_at(1024, 1));
  EXPECT_EQ(memory_at(2 * kMiB - 100, 4000), content_at(1025, 4000));
  EXPECT_EQ(memory_at(3 * kMiB, 399), content_at(5025, 399));
  EXPECT_EQ(memory_at(3 * kMiB + 399, 1)[0], std::byte{0}) << "only as much as was asked for";
}

TEST_P(IoRingTest, WritesFromTheMiddleOfSegments) {
  const auto bytes = pattern(10'000, 99);
  ASSERT_TRUE(memory_->write(Gpa(5'000), bytes));
  const DmaSegment segments[] = {{DmaAddr(5'000), 3'000}, {DmaAddr(8'000), 7'000}};
  DmaReader reader(space_, segments);
  reader.skip(16);
  for (const bool durable : {false, true}) {
    ASSERT_TRUE(ring_->queue_write(1, reader, {2'048, 9'984}, durable));
    const IoCompletion done = finish_one(*ring_);
    EXPECT_EQ(done.bytes, 9'984u);
    EXPECT_EQ(done.os_errno, 0);
  }
  EXPECT_TRUE(std::ranges::equal(file_at(2'048, 9'984), std::span(bytes).subspan(16)));
  EXPECT_EQ(file_at(2'047, 1), content_at(2'047, 1));
  EXPECT_EQ(file_at(12'032, 1), content_at(12'032, 1));
}

TEST_P(IoRingTest, TheEndOfTheFileIsNotAnError) {
  const DmaSegment segments[] = {{DmaAddr(0), 4096}};
  ASSERT_TRUE(ring_->queue_read(1, DmaWriter(space_, segments), {kFileSize - 1000, 4096}));
  IoCompletion done = finish_one(*ring_);
  EXPECT_EQ(done.bytes, 1000u);
  EXPECT_EQ(done.os_errno, 0);
  ASSERT_TRUE(ring_->queue_read(1, DmaWriter(space_, segments), {kFileSize + 5000, 4096}));
  done = finish_one(*ring_);
  EXPECT_EQ(done.bytes, 0u);
}

TEST_P(IoRingTest, ErrorsComeBackAsErrno) {
  const DmaSegment segments[] = {{DmaAddr(0), 4096}};
  ASSERT_EQ(::fcntl(file_.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  ASSERT_TRUE(ring_->queue_write(1, DmaReader(space_, segments), {0, 4096}, false));
  EXPECT_EQ(finish_one(*ring_).os_errno, EPERM);
  ring_->queue_allocate(2, {0, 4096}, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  EXPECT_EQ(finish_one(*ring_).os_errno, EPERM);
  EXPECT_EQ(ring_->in_flight(), 0u);
}

TEST_P(IoRingTest, MemoryThatIsNotThereQueuesNothing) {
  const DmaSegment segments[] = {{DmaAddr(0), 512}, {DmaAddr(kSize - 100), 512}};
  EXPECT_FALSE(ring_->queue_read(1, DmaWriter(space_, segments), {0, 1024}));
  EXPECT_FALSE(ring_->queue_write(1, DmaReader(space_, segments), {0, 1024}, false));
  EXPECT_EQ(ring_->in_flight(), 0u);
  EXPECT_TRUE(ring_->queue_read(1, DmaWriter(space_, segments), {0, 612})) << "not all is used";
  EXPECT_EQ(finish_one(*ring_).bytes, 612u);
}

TEST_P(IoRingTest, WritesZeroesOfAnyLength) {
  constexpr std::uint64_t kLength = 3 * kMiB + 12'345;
  ring_->queue_zeroes(1, {777, kLength});
  EXPECT_EQ(finish_one(*ring_).bytes, kLength);
  const auto bytes = file_at(777, kLength);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(file_at(0, 777), content_at(0, 777));
  EXPECT_EQ(file_at(777 + kLength, 100), content_at(777 + kLength, 100));
}

TEST_P(IoRingTest, SyncsAndPunchesHoles) {
  ring_->queue_sync(1);
  ring_->queue_allocate(2, {8192, 4096}, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  const auto done = finish(*ring_);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].os_errno, 0);
  EXPECT_EQ(done[1].os_errno, 0);
  EXPECT_EQ(file_at(8192, 4096), std::vector<std::byte>(4096));
  EXPECT_EQ(file_at(12288, 100), content_at(12288, 100));
}

TEST_P(IoRingTest, IsReadableExactlyWhileCompletionsWait) {
  EXPECT_FALSE(readable(ring_->event_fd()));
  const DmaSegment segments[] = {{DmaAddr(0), 4096}};
  ASSERT_TRUE(ring_->queue_read(1, DmaWriter(space_, segments), {0, 4096}));
  ring_->submit();
  ring_->wait();
  EXPECT_TRUE(readable(ring_->event_fd()));
  std::array<IoCompletion, 2> done;
  EXPECT_EQ(ring_->reap(done), 1u);
  EXPECT_FALSE(readable(ring_->event_fd()));
  EXPECT_EQ(ring_->reap(done), 0u);
}

TEST_P(IoRingTest, ManyRoundsWithTheRingFull) {
  std::array<std::array<DmaSegment, 200>, 16> lists;
  for (std::uint64_t i = 0; i < lists.size(); ++i) {
    for (std::uint64_t k = 0; k < 200; ++k) {
      lists[i][k] = {DmaAddr(i * 2 * kMiB + k * 5000), 512};
    }
  }
  for (std::uint64_t round = 0; round < 20; ++round) {
    for (std::uint64_t i = 0; i < lists.size(); ++i) {
      const IoRing::Range range{(round * 16 + i) * 1024, 200 * 512};
      ASSERT_TRUE(ring_->queue_read(i, DmaWriter(space_, lists[i]), range));
    }
    EXPECT_TRUE(ring_->full());
    const auto done = finish(*ring_);
    ASSERT_EQ(done.size(), 16u);
    for (std::uint64_t i = 0; i < lists.size(); ++i) {
      EXPECT_EQ(done[i].tag, i);
      EXPECT_EQ(done[i].bytes, 200u * 512);
      const std::uint64_t last = (round * 16 + i) * 1024 + 199 * 512;
      EXPECT_EQ(memory_at(i * 2 * kMiB + 199 * 5000, 512), content_at(last, 512));
    }
  }
}

TEST_P(IoRingTest, ReadPagesAreDirtyAfterTheTransfer) {
  memory_->start_dirty_log();
  const DmaSegment segments[] = {{DmaAddr(kPageSize * 64), 8192}};
  ASSERT_TRUE(ring_->queue_read(1, DmaWriter(space_, segments), {0, 8192}));
  static_cast<void>(
      memory_->take_dirty_log(memory_->regions()[0]));  // a log taken before the bytes come
  finish(*ring_);
  EXPECT_EQ(memory_->take_dirty_log(memory_->regions()[0])[1], 3u);
  ASSERT_TRUE(ring_->queue_write(1, DmaReader(space_, segments), {0, 8192}, false));
  finish(*ring_);
  EXPECT_EQ(memory_->take_dirty_log(memory_->regions()[0])[1], 0u);
}

TEST_P(IoRingTest, CancelFromAnotherThreadLeavesNothingInFlight) {
  const DmaSegment segments[] = {{DmaAddr(0), 1 * kMiB}};
  for (std::uint64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(ring_->queue_read(i, DmaWriter(space_, segments), {0, 1 * kMiB}));
    ring_->queue_sync(100 + i);
    if (i == 5) ring_->submit();
  }
  std::thread other([this] { ring_->cancel_all(); });
  other.join();
  EXPECT_EQ(ring_->in_flight(), 0u);
  std::array<IoCompletion, 2> done;
  EXPECT_EQ(ring_->reap(done), 0u);
  ASSERT_TRUE(ring_->queue_read(9, DmaWriter(space_, segments), {0, 4096}));
  EXPECT_EQ(finish_one(*ring_).tag, 9u) << "the ring still works";
}

// O_DIRECT completes in the kernel's own time, unlike the page cache.
TEST_P(IoRingTest, ServesDirectFiles) {
  std::string path = testing::TempDir() + "/ring-XXXXXX";
  Fd plain(::mkstemp(path.data()));
  ASSERT_TRUE(plain.valid());
  Fd direct(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  ::unlink(path.c_str());
  if (!direct.valid()) GTEST_SKIP() << "no O_DIRECT here";
  ASSERT_EQ(::pwrite(plain.get(), content_.data(), kFileSize, 0), static_cast<ssize_t>(kFileSize));
  const auto make = GetParam() == Engine::kUring ? create_uring_engine : create_sync_engine;
  IoRing ring(make(direct.get(), 16).value(), 16);
  const DmaSegment segments[] = {{DmaAddr(0), 1 * kMiB}};
  for (std::uint64_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(ring.queue_read(i, DmaWriter(space_, segments), {i * 4096, 64 * 1024}));
  }
  ring.submit();
  std::thread other([&ring] {
    std::array<IoCompletion, 16> done;
    std::size_t count = 0;
    while (count < 10) {
      ring.wait();
      const std::size_t got = ring.reap(done);
      for (std::size_t i = 0; i < got; ++i) EXPECT_EQ(done[i].bytes, 64u * 1024);
      count += got;
    }
    ring.cancel_all();
  });
  other.join();
  EXPECT_EQ(ring.in_flight(), 0u);
}

TEST(IoRing, RefusesSizesThatItCannotHave) {
  EXPECT_FALSE(IoRing::create({.file = 0, .entries = 0}));
  EXPECT_FALSE(IoRing::create({.file = 0, .entries = IoRing::kMaxEntries + 1}));
}

TEST(IoRing, WorksWhereIoUringIsRefused) {
  // A file that cannot be registered is not a reason to do without io_uring; a bad one is no crash.
  const auto ring = IoRing::create({.file = -1, .entries = 4});
  ASSERT_TRUE(ring);
  (*ring)->queue_sync(1);
  (*ring)->submit();
  (*ring)->wait();
  std::array<IoCompletion, 1> done;
  ASSERT_EQ((*ring)->reap(done), 1u);
  EXPECT_EQ(done[0].os_errno, EBADF);
  EXPECT_TRUE(IoRing::create({.file = -1, .entries = 4, .synchronous = true}));
}

using IoRingRefusalTest = RingTest;

// What the kernel does not take must come back as an error, not stay in flight for ever.
TEST_F(IoRingRefusalTest, CommandsThatTheKernelRefusesEnd) {
  Result<std::unique_ptr<IoEngine>> engine = create_uring_engine(file_.get(), 16);
  if (!engine) GTEST_SKIP() << engine.error().what;
  IoRing ring(std::move(*engine), 16);
  const Fd null = Fd::open("/dev/null", O_RDWR).value();
  ASSERT_GE(::dup2(null.get(), ring.event_fd()), 0);  // io_uring_enter(2) fails from now on
  const DmaSegment segments[] = {{DmaAddr(0), 4096}};
  ASSERT_TRUE(ring.queue_read(1, DmaWriter(space_, segments), {0, 4096}));
  ring.queue_sync(2);
  const auto done = finish(ring);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_NE(done[0].os_errno, 0);
  EXPECT_NE(done[1].os_errno, 0);
  ring.queue_sync(3);
  ring.cancel_all();
  EXPECT_EQ(ring.in_flight(), 0u);
}

class IoRingFaultTest : public RingTest {
 protected:
  std::shared_ptr<EngineFaults> faults_ = std::make_shared<EngineFaults>();
  IoRing ring_{std::make_unique<FaultEngine>(create_sync_engine(file_.get(), 4).value(), faults_),
               4};
  const DmaSegment segments_[2] = {{DmaAddr(100), 5'000}, {DmaAddr(1 * kMiB), 5'000}};
};

TEST_F(IoRingFaultTest, ContinuesPartialTransfers) {
  faults_->most_bytes = 999;
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {512, 10'000}));
  EXPECT_EQ(finish_one(ring_).bytes, 10'000u);
  EXPECT_EQ(faults_->pushed, 11u);
  EXPECT_EQ(memory_at(100, 5'000), content_at(512, 5'000));
  EXPECT_EQ(memory_at(1 * kMiB, 5'000), content_at(5'512, 5'000));

  ASSERT_TRUE(ring_.queue_write(1, DmaReader(space_, segments_), {20'000, 10'000}, false));
  EXPECT_EQ(finish_one(ring_).bytes, 10'000u);
  EXPECT_EQ(file_at(20'000, 10'000), content_at(512, 10'000));
}

TEST_F(IoRingFaultTest, RepeatsInterruptedCommands) {
  int interruptions = 0;
  faults_->refuse = [&](const IoCommand&) -> std::optional<std::int32_t> {
    if (++interruptions > 40) return std::nullopt;
    return interruptions % 2 == 0 ? -EINTR : -EAGAIN;
  };
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  EXPECT_EQ(finish_one(ring_).bytes, 10'000u);
}

TEST_F(IoRingFaultTest, GivesUpWhatNeverMoves) {
  faults_->refuse = [](const IoCommand&) { return std::optional<std::int32_t>(-EAGAIN); };
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  EXPECT_EQ(finish_one(ring_).os_errno, EAGAIN);
  faults_->refuse = [](const IoCommand&) { return std::optional<std::int32_t>(0); };
  ASSERT_TRUE(ring_.queue_write(1, DmaReader(space_, segments_), {0, 10'000}, false));
  EXPECT_EQ(finish_one(ring_).os_errno, EIO) << "a write of nothing";
}

TEST_F(IoRingFaultTest, KeepsTheBytesBeforeAnError) {
  faults_->most_bytes = 4'000;
  faults_->refuse = [&](const IoCommand&) -> std::optional<std::int32_t> {
    if (faults_->pushed < 3) return std::nullopt;
    return -ENOSPC;
  };
  ASSERT_TRUE(ring_.queue_write(1, DmaReader(space_, segments_), {0, 10'000}, false));
  const IoCompletion done = finish_one(ring_);
  EXPECT_EQ(done.os_errno, ENOSPC);
  EXPECT_EQ(done.bytes, 8'000u);
}

TEST_F(IoRingFaultTest, TooLargeAResultIsNotBelieved) {
  faults_->refuse = [](const IoCommand&) { return std::optional<std::int32_t>(1 << 30); };
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  EXPECT_EQ(finish_one(ring_).bytes, 10'000u);
}

TEST_F(IoRingFaultTest, CancelDoesNotContinueAnything) {
  faults_->hold = true;
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  ring_.queue_sync(2);
  ring_.submit();
  std::array<IoCompletion, 2> done;
  EXPECT_EQ(ring_.reap(done), 0u);
  EXPECT_EQ(ring_.in_flight(), 2u);
  ring_.cancel_all();
  EXPECT_EQ(faults_->cancels, 1u);
  EXPECT_EQ(faults_->pushed, 2u);
  EXPECT_EQ(ring_.in_flight(), 0u);
}

}  // namespace
}  // namespace bulkhead
