// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/block.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "devices/virtio/driver_for_test.h"
#include "mem/engine_for_test.h"

namespace bulkhead {
namespace {

using virtio::BlockHeader;
using virtio::BlockRangeHeader;
using virtio::BlockStatus;

constexpr std::uint64_t kCapacity = 8 * kMiB;
constexpr std::uint64_t kSectors = kCapacity / 512;
constexpr std::uint8_t kNoStatus = 0xee;

std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((i >> 9) * 13 + i + seed);
  return bytes;
}

class BlockTest : public testing::Test {
 protected:
  BlockTest() {
    EXPECT_EQ(::pwrite(file_.get(), content_.data(), content_.size(), 0),
              static_cast<ssize_t>(content_.size()));
  }

  BlockOptions options() {
    BlockOptions options;
    options.file = file_.duplicate().value();
    options.id = "disk-7";
    return options;
  }
  // A disk whose system calls fail as faults_ says.
  BlockOptions faulty() {
    BlockOptions faulty = options();
    faulty.engine = std::make_unique<FaultEngine>(
        create_sync_engine(file_.get(), RequestPool::kSize).value(), faults_);
    return faulty;
  }
  void start(BlockOptions options, const TestDriver::Options& driver_options = {}) {
    device_ = VirtioBlock::create(std::move(options), driver_.space(), *loop_).value();
    ASSERT_TRUE(driver_.start(*device_, driver_options));
  }

  DmaSegment header(std::uint32_t type, std::uint64_t sector) {
    return driver_.put_value(BlockHeader{.type = type, .sector = sector});
  }
  DmaSegment status_byte() { return driver_.put_value(kNoStatus); }
  std::uint8_t status_in(const DmaSegment& segment) {
    return driver_.get_value<std::uint8_t>(segment);
  }
  void let_finish() {
    for (int i = 0; i < 100 && device_->in_flight() > 0; ++i) EXPECT_TRUE(loop_->run_once(100));
  }

  struct Answer {
    std::uint8_t status = kNoStatus;
    std::uint32_t used = 0;
  };
  // One request, to its end.
  Answer request(std::vector<DmaSegment> readable, std::vector<DmaSegment> writable,
                 std::uint16_t queue = 0) {
    const DmaSegment status = status_byte();
    writable.push_back(status);
    return raw_request(readable, writable, status, queue);
  }
  Answer raw_request(const std::vector<DmaSegment>& readable,
                     const std::vector<DmaSegment>& writable, const DmaSegment& status,
                     std::uint16_t queue = 0) {
    EXPECT_TRUE(driver_.add(queue, readable, writable));
    EXPECT_TRUE(driver_.ring(queue));
    let_finish();
    const auto used = driver_.take_used(queue);
    EXPECT_TRUE(used);
    return {status_in(status), used ? used->length : ~0U};
  }
  std::uint8_t read_status(std::uint64_t sector, std::uint32_t length) {
    return request({header(virtio::kTypeIn, sector)}, {driver_.allocate(length)}).status;
  }
  std::uint8_t write_status(std::uint64_t sector, std::span<const std::byte> bytes) {
    return request({header(virtio::kTypeOut, sector), driver_.put(bytes)}, {}).status;
  }
  std::uint8_t range_status(std::uint32_t type, std::vector<BlockRangeHeader> ranges) {
    const auto bytes = std::as_bytes(std::span(ranges));
    return request({header(type, 0), driver_.put(bytes)}, {}).status;
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
  std::uint64_t file_size() {
    return static_cast<std::uint64_t>(::lseek(file_.get(), 0, SEEK_END));
  }

  const std::vector<std::byte> content_ = pattern(kCapacity);
  Fd file_{::memfd_create("disk", MFD_CLOEXEC)};
  std::shared_ptr<EngineFaults> faults_ = std::make_shared<EngineFaults>();
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  TestDriver driver_;
  std::unique_ptr<VirtioBlock> device_;
};

constexpr auto kOk = static_cast<std::uint8_t>(BlockStatus::kOk);
constexpr auto kIoError = static_cast<std::uint8_t>(BlockStatus::kIoError);
constexpr auto kUnsupported = static_cast<std::uint8_t>(BlockStatus::kUnsupported);

TEST_F(BlockTest, TellsWhatItIs) {
  BlockOptions many = options();
  many.queues = 4;
  start(std::move(many));
  EXPECT_EQ(device_->device_id(), 2u);
  EXPECT_EQ(device_->queue_sizes().size(), 4u);
  virtio::BlockConfig config;
  device_->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.capacity, kSectors);
  EXPECT_EQ(config.seg_max, 254u);
  EXPECT_EQ(config.blk_size, 512u);
  EXPECT_EQ(config.physical_block_exp, 3u);
  EXPECT_EQ(config.num_queues, 4u);
  EXPECT_EQ(config.max_discard_seg, BlockLimits::kMaxRanges);
  const std::uint64_t features = device_->offered_features();
  EXPECT_NE(features & virtio::kBlockMultiQueue, 0u);
  EXPECT_NE(features & virtio::kBlockDiscard, 0u);
  EXPECT_EQ(features & virtio::kBlockReadOnly, 0u);
  std::vector<std::byte> beyond(8, std::byte{1});
  device_->read_config(~std::uint64_t{0} - 3, beyond);
  EXPECT_EQ(beyond, std::vector<std::byte>(8));
}

TEST_F(BlockTest, RefusesWhatCannotBeADisk) {
  const auto refuses = [&](BlockOptions bad) {
    return !VirtioBlock::create(std::move(bad), driver_.space(), *loop_);
  };
  BlockOptions bad = options();
  bad.queues = 0;
  EXPECT_TRUE(refuses(std::move(bad)));
  bad = options();
  bad.queues = VirtioBlock::kMaxQueues + 1;
  EXPECT_TRUE(refuses(std::move(bad)));
  bad = options();
  bad.id = std::string(21, 'x');
  EXPECT_TRUE(refuses(std::move(bad)));
  bad = options();
  bad.block_size = 1024;
  EXPECT_TRUE(refuses(std::move(bad)));
  bad = options();
  bad.file = Fd();
  EXPECT_TRUE(refuses(std::move(bad)));
}

TEST_F(BlockTest, ReadsIntoScatteredMemory) {
  start(options());
  const std::vector<DmaSegment> data = {driver_.allocate(100), driver_.allocate(0),
                                        driver_.allocate(924), driver_.allocate(3072)};
  const Answer answer = request({header(virtio::kTypeIn, 17)}, data);
  EXPECT_EQ(answer.status, kOk);
  EXPECT_EQ(answer.used, 4097u);
  EXPECT_EQ(driver_.get(data[0]), content_at(17 * 512, 100));
  EXPECT_EQ(driver_.get(data[2]), content_at(17 * 512 + 100, 924));
  EXPECT_EQ(driver_.get(data[3]), content_at(17 * 512 + 1024, 3072));
  EXPECT_EQ(driver_.interrupts().used[0], 1);
}

TEST_F(BlockTest, StatusMayShareASegmentWithData) {
  start(options());
  const DmaSegment both = driver_.allocate(513);
  const DmaSegment status{both.address + 512, 1};
  const Answer answer = raw_request({header(virtio::kTypeIn, 3)}, {both}, status);
  EXPECT_EQ(answer.status, kOk);
  EXPECT_EQ(answer.used, 513u);
  EXPECT_EQ(driver_.get({both.address, 512}), content_at(3 * 512, 512));
}

TEST_F(BlockTest, HeadersMayComeInPiecesAndWithTheData) {
  start(options());
  const BlockHeader head{.type = virtio::kTypeOut, .sector = 8};
  std::vector<std::byte> bytes(sizeof head);
  std::memcpy(bytes.data(), &head, sizeof head);
  const auto data = pattern(1024, 77);
  bytes.insert(bytes.end(), data.begin(), data.end());
  const auto all = std::span<const std::byte>(bytes);
  const Answer answer = request({driver_.put(all.first(1)), driver_.put(all.subspan(1, 7)),
                                 driver_.put(all.subspan(8, 20)), driver_.put(all.subspan(28))},
                                {});
  EXPECT_EQ(answer.status, kOk);
  EXPECT_EQ(answer.used, 1u);
  EXPECT_EQ(file_at(8 * 512, 1024), data);
  EXPECT_EQ(file_at(10 * 512, 512), content_at(10 * 512, 512));
}

TEST_F(BlockTest, FlushesAndTellsItsId) {
  start(options());
  EXPECT_EQ(request({header(virtio::kTypeFlush, 0)}, {}).status, kOk);
  const DmaSegment id = driver_.allocate(20);
  const Answer answer = request({header(virtio::kTypeGetId, 0)}, {id});
  EXPECT_EQ(answer.status, kOk);
  EXPECT_EQ(answer.used, 21u);
  const auto got = driver_.get(id);
  EXPECT_EQ(std::memcmp(got.data(), "disk-7\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20), 0);
  const DmaSegment part = driver_.allocate(4);
  EXPECT_EQ(request({header(virtio::kTypeGetId, 0)}, {part}).status, kOk);
  EXPECT_EQ(std::memcmp(driver_.get(part).data(), "disk", 4), 0);
}

// With plain system calls, where all requests are complete before the device looks again; with
// io_uring it depends on how fast the host's disk answers.
TEST_F(BlockTest, ManyRequestsOfOneDoorbellMakeOneInterrupt) {
  BlockOptions plain = options();
  plain.engine = create_sync_engine(plain.file.get(), 256).value();
  start(std::move(plain), {.queue_size = 256});
  std::vector<DmaSegment> states;
  for (std::uint64_t i = 0; i < 64; ++i) {
    states.push_back(status_byte());
    ASSERT_TRUE(
        driver_.add(0, {header(virtio::kTypeIn, i * 8)}, {driver_.allocate(4096), states.back()}));
  }
  ASSERT_TRUE(driver_.ring(0));
  let_finish();
  for (const DmaSegment& state : states) EXPECT_EQ(status_in(state), kOk);
  EXPECT_LE(driver_.interrupts().used[0], 2);
  EXPECT_TRUE(driver_.doorbell_wanted(0));
}

// Served: by one doorbell, of requests that each come only after the one before was done, and after
// the device has looked in vain for a while.
TEST_F(BlockTest, LooksForTheNextRequestOfABusyDriverButNotForEver) {
  using namespace std::chrono_literals;
  const auto served_with = [this](std::chrono::microseconds linger) {
    BlockOptions busy = faulty();
    busy.linger = linger;
    start(std::move(busy), {.queue_size = 256});
    EXPECT_EQ(read_status(0, 512), kOk);
    const auto add = [this] {
      driver_.add(0, {header(virtio::kTypeIn, 0)}, {driver_.allocate(512), status_byte()});
    };
    int looked = 0;
    faults_->before_reap = [&] {
      looked = device_->in_flight() > 0 ? 0 : looked + 1;
      if (looked == 20) add();
    };
    add();
    EXPECT_TRUE(driver_.ring(0));
    faults_->before_reap = nullptr;
    int served = 0;
    while (driver_.take_used(0)) ++served;
    device_.reset();
    return served;
  };
  EXPECT_EQ(served_with(0us), 1);
  EXPECT_EQ(served_with(10s), 16);  // then the event loop's other devices have their turn
}

TEST_F(BlockTest, MoreRequestsThanThePoolHoldsAreAllServed) {
  BlockOptions two = options();
  two.queues = 2;
  start(std::move(two), {.queue_size = 256});
  std::vector<DmaSegment> states;
  for (std::uint16_t queue = 0; queue < 2; ++queue) {
    for (std::uint64_t i = 0; i < 120; ++i) {
      states.push_back(status_byte());
      ASSERT_TRUE(driver_.add(queue, {header(virtio::kTypeFlush, 0)}, {states.back()}));
    }
  }
  ASSERT_TRUE(driver_.ring(0));
  ASSERT_TRUE(driver_.ring(1));
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(loop_->run_once(10));
  for (const DmaSegment& state : states) EXPECT_EQ(status_in(state), kOk);
  EXPECT_EQ(driver_.used_index(0), 120u);
  EXPECT_EQ(driver_.used_index(1), 120u);
}

TEST_F(BlockTest, BoundsDoNotWrap) {
  start(options());
  EXPECT_EQ(read_status(kSectors - 1, 512), kOk);
  EXPECT_EQ(read_status(kSectors - 1, 1024), kIoError);
  EXPECT_EQ(read_status(kSectors, 512), kIoError);
  for (const std::uint64_t sector : {~std::uint64_t{0}, ~std::uint64_t{0} / 512,
                                     ~std::uint64_t{0} / 512 + 1, std::uint64_t{1} << 55}) {
    EXPECT_EQ(read_status(sector, 512), kIoError) << sector;
    EXPECT_EQ(write_status(sector, pattern(512)), kIoError) << sector;
    EXPECT_EQ(range_status(virtio::kTypeDiscard, {{sector, 1, 0}}), kIoError) << sector;
  }
  EXPECT_EQ(file_size(), kCapacity);
  EXPECT_EQ(file_at(0, kCapacity), content_);
}

TEST_F(BlockTest, LengthsAreWholeSectors) {
  start(options());
  EXPECT_EQ(read_status(0, 511), kIoError);
  EXPECT_EQ(read_status(0, 513), kIoError);
  EXPECT_EQ(write_status(0, pattern(100)), kIoError);
  EXPECT_EQ(request({header(virtio::kTypeIn, 0)}, {}).status, kOk) << "nothing to read";
  EXPECT_EQ(file_at(0, 512), content_at(0, 512));
}

TEST_F(BlockTest, GiantRequestsAreRefused) {
  start(options());
  const DmaSegment giant{DmaAddr(4 * kMiB), 0xffff'fe00};
  EXPECT_EQ(request({header(virtio::kTypeIn, 0)}, {giant}).status, kIoError);
  EXPECT_EQ(request({header(virtio::kTypeOut, 0), giant}, {}).status, kIoError);
}

TEST_F(BlockTest, MemoryThatIsNotThereIsAnError) {
  start(options());
  const DmaSegment outside{DmaAddr(TestDriver::kMemorySize - 8), 512};
  EXPECT_EQ(request({header(virtio::kTypeIn, 0)}, {outside}).status, kIoError);
  EXPECT_EQ(request({header(virtio::kTypeOut, 0), outside}, {}).status, kIoError);
  EXPECT_EQ(request({outside}, {}).status, kIoError) << "a header outside of RAM";
  EXPECT_EQ(request({header(virtio::kTypeGetId, 0)}, {outside}).status, kIoError);
  EXPECT_EQ(request({header(virtio::kTypeDiscard, 0), {outside.address, 16}}, {}).status, kIoError);
  const Answer nowhere = raw_request({header(virtio::kTypeFlush, 0)},
                                     {{DmaAddr(TestDriver::kMemorySize), 1}}, status_byte());
  EXPECT_EQ(nowhere.used, 0u);
}

TEST_F(BlockTest, RequestsWithoutHeaderOrStatusAreGivenBack) {
  start(options());
  EXPECT_EQ(request({}, {driver_.allocate(512)}).status, kIoError);
  EXPECT_EQ(request({driver_.put(pattern(15))}, {}).status, kIoError);
  const DmaSegment none = driver_.allocate(0);
  EXPECT_EQ(raw_request({header(virtio::kTypeFlush, 0)}, {none}, status_byte()).used, 0u);
  EXPECT_EQ(
      raw_request({header(virtio::kTypeOut, 0), driver_.allocate(512)}, {}, status_byte()).status,
      kNoStatus);
  EXPECT_EQ(file_at(0, 512), content_at(0, 512)) << "nothing is written without a status";
}

TEST_F(BlockTest, UnknownTypesAreUnsupported) {
  start(options());
  for (const std::uint32_t type : {2U, 10U, 14U, 0x80000000U, 0xffffffffU}) {
    EXPECT_EQ(request({header(type, 0)}, {driver_.allocate(512)}).status, kUnsupported) << type;
  }
}

TEST_F(BlockTest, AReadOnlyDiskIsNeverWritten) {
  BlockOptions read_only = options();  // the descriptor itself would allow it
  read_only.read_only = true;
  start(std::move(read_only));
  EXPECT_NE(device_->offered_features() & virtio::kBlockReadOnly, 0u);
  EXPECT_EQ(device_->offered_features() & virtio::kBlockDiscard, 0u);
  EXPECT_EQ(write_status(0, pattern(512, 9)), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, 8, 0}}), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, 8, 0}}), kIoError);
  EXPECT_EQ(read_status(0, 512), kOk);
  EXPECT_EQ(request({header(virtio::kTypeFlush, 0)}, {}).status, kOk);
  EXPECT_EQ(file_at(0, kCapacity), content_);
}

TEST_F(BlockTest, DiscardsAndZeroesRanges) {
  start(options());
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{8, 8, 0}, {0, 0, 0}, {24, 8, 0}}), kOk);
  EXPECT_EQ(file_at(8 * 512, 4096), std::vector<std::byte>(4096));
  EXPECT_EQ(file_at(16 * 512, 4096), content_at(16 * 512, 4096));
  EXPECT_EQ(file_at(24 * 512, 4096), std::vector<std::byte>(4096));
  for (const std::uint32_t flags : {0U, virtio::kRangeUnmap}) {
    const std::uint64_t sector = 101 + 10 * flags;
    EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{sector, 3, flags}}), kOk);
    EXPECT_EQ(file_at(sector * 512, 1536), std::vector<std::byte>(1536));
    EXPECT_EQ(file_at(sector * 512 - 1, 1), content_at(sector * 512 - 1, 1));
    EXPECT_EQ(file_at((sector + 3) * 512, 1), content_at((sector + 3) * 512, 1));
  }
  EXPECT_EQ(file_size(), kCapacity);
}

TEST_F(BlockTest, ADiskWithoutDiscardKeepsItsSpace) {
  BlockOptions kept = options();
  kept.discard = false;
  start(std::move(kept));
  EXPECT_EQ(device_->offered_features() & (virtio::kBlockDiscard | virtio::kBlockWriteZeroes), 0u);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{8, 8, 0}}), kUnsupported);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{8, 8, virtio::kRangeUnmap}}), kUnsupported);
  EXPECT_EQ(file_at(0, kCapacity), content_);
}

TEST_F(BlockTest, BadRangesChangeNothing) {
  start(options());
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {}), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, 8, 1}}), kUnsupported) << "unmap";
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, 8, 0}, {0, 8, 2}}), kUnsupported);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, 8, 3}}), kUnsupported);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, 8, 0}, {kSectors - 1, 2, 0}}), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, ~0U, 0}}), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, BlockLimits::kMaxZeroSectors + 1, 0}}),
            kIoError);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, std::vector<BlockRangeHeader>(17, {0, 8, 0})),
            kIoError);
  EXPECT_EQ(request({header(virtio::kTypeDiscard, 0), driver_.allocate(24)}, {}).status, kIoError);
  EXPECT_EQ(file_at(0, kCapacity), content_);
}

TEST_F(BlockTest, ZeroesAreWrittenWhereTheHostCannotPunch) {
  std::vector<int> tried;
  faults_->refuse = [&](const IoCommand& command) -> std::optional<std::int32_t> {
    if (command.kind != IoCommand::Kind::kAllocate) return std::nullopt;
    tried.push_back(command.flags & ~FALLOC_FL_KEEP_SIZE);
    return -EOPNOTSUPP;
  };
  start(faulty());
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{8, 4096, virtio::kRangeUnmap}}), kOk);
  EXPECT_EQ(tried, (std::vector<int>{FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE}));
  EXPECT_EQ(file_at(4096, 2 * kMiB), std::vector<std::byte>(2 * kMiB));
  EXPECT_EQ(file_at(0, 4096), content_at(0, 4096));
  EXPECT_EQ(file_at(4096 + 2 * kMiB, 512), content_at(4096 + 2 * kMiB, 512));
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, 1, virtio::kRangeUnmap}}), kOk);
  EXPECT_EQ(tried.size(), 2u) << "what was refused once is not tried again";
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{100, 8, 0}}), kUnsupported);
}

TEST_F(BlockTest, AShrunkenFileIsAnErrorAndDoesNotGrowAgain) {
  start(options());
  ASSERT_EQ(::ftruncate(file_.get(), 1 * kMiB), 0);
  EXPECT_EQ(read_status(2047, 512), kOk);
  EXPECT_EQ(read_status(2048, 512), kIoError);
  EXPECT_EQ(read_status(2047, 1024), kIoError);
  EXPECT_EQ(write_status(2047, pattern(512)), kOk);
  EXPECT_EQ(write_status(4096, pattern(512)), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{4096, 8, 0}}), kIoError);
  EXPECT_EQ(file_size(), 1 * kMiB);
  ASSERT_EQ(::ftruncate(file_.get(), kCapacity), 0);
  EXPECT_EQ(write_status(4096, pattern(512)), kIoError) << "what was there is lost";
}

TEST_F(BlockTest, AFullHostIsReportedAndRecovers) {
  bool full = true;
  faults_->refuse = [&](const IoCommand& command) -> std::optional<std::int32_t> {
    if (!full || command.kind != IoCommand::Kind::kWrite) return std::nullopt;
    return -ENOSPC;
  };
  start(faulty());
  testing::internal::CaptureStderr();
  EXPECT_EQ(write_status(0, pattern(512, 5)), kIoError);
  EXPECT_EQ(write_status(0, pattern(512, 5)), kIoError);
  full = false;
  EXPECT_EQ(write_status(0, pattern(512, 5)), kOk);
  full = true;
  EXPECT_EQ(write_status(8, pattern(512, 5)), kIoError);
  const std::string lines = testing::internal::GetCapturedStderr();
  std::size_t count = 0;
  for (std::size_t at = 0; (at = lines.find("block.disk_full", at)) != std::string::npos; ++at) {
    ++count;
  }
  EXPECT_EQ(count, 2u) << lines;
  EXPECT_EQ(file_at(0, 512), pattern(512, 5));
  EXPECT_EQ(read_status(0, 512), kOk);
}

TEST_F(BlockTest, HostErrorsReachTheDriver) {
  faults_->refuse = [](const IoCommand&) { return std::optional<std::int32_t>(-EIO); };
  start(faulty());
  EXPECT_EQ(read_status(0, 512), kIoError);
  EXPECT_EQ(write_status(0, pattern(512)), kIoError);
  EXPECT_EQ(request({header(virtio::kTypeFlush, 0)}, {}).status, kIoError);
  EXPECT_EQ(range_status(virtio::kTypeDiscard, {{0, 8, 0}}), kIoError);
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, 8, 1}}), kIoError);
}

TEST_F(BlockTest, PartialTransfersAreContinued) {
  faults_->most_bytes = 700;
  start(faulty());
  const DmaSegment data = driver_.allocate(8192);
  EXPECT_EQ(request({header(virtio::kTypeIn, 5)}, {data}).status, kOk);
  EXPECT_EQ(driver_.get(data), content_at(5 * 512, 8192));
  EXPECT_EQ(write_status(9, pattern(4096, 3)), kOk);
  EXPECT_EQ(file_at(9 * 512, 4096), pattern(4096, 3));
}

TEST_F(BlockTest, WithoutFlushEveryWriteIsDurable) {
  std::vector<int> flags;
  int syncs = 0;
  faults_->refuse = [&](const IoCommand& command) -> std::optional<std::int32_t> {
    if (command.kind == IoCommand::Kind::kWrite) flags.push_back(command.flags);
    if (command.kind == IoCommand::Kind::kSync) ++syncs;
    return std::nullopt;
  };
  start(faulty());
  EXPECT_EQ(write_status(0, pattern(512)), kOk);
  driver_.reset();
  driver_.layout(std::vector<std::uint16_t>{16}, TestDriver::kFeatures);
  ASSERT_TRUE(device_->activate({TestDriver::kFeatures, driver_.queues(), driver_.interrupts()}));
  EXPECT_EQ(write_status(0, pattern(512)), kOk);
  EXPECT_EQ(flags, (std::vector<int>{0, RWF_DSYNC}));
  EXPECT_EQ(range_status(virtio::kTypeWriteZeroes, {{0, 8, 1}}), kOk);
  EXPECT_EQ(syncs, 1);
}

TEST_F(BlockTest, ResetEndsWhatIsUnderWay) {
  start(faulty());
  faults_->hold = true;
  const DmaSegment data = driver_.allocate(4096);
  const DmaSegment status = status_byte();
  ASSERT_TRUE(driver_.add(0, {header(virtio::kTypeIn, 0)}, {data, status}));
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_EQ(device_->in_flight(), 1u);
  driver_.reset();
  EXPECT_EQ(device_->in_flight(), 0u);
  EXPECT_EQ(faults_->cancels, 1u);
  ASSERT_TRUE(loop_->run_once(0));
  EXPECT_EQ(status_in(status), kNoStatus);
  EXPECT_EQ(driver_.used_index(0), 0u);
  ASSERT_TRUE(driver_.ring(0)) << "nothing happens before the next activation";
  ASSERT_TRUE(driver_.start(*device_));
  EXPECT_EQ(read_status(0, 512), kOk);
}

TEST_F(BlockTest, ABrokenQueueStopsTheDeviceUntilReset) {
  start(options());
  driver_.offer(0, 9999);
  EXPECT_FALSE(driver_.ring(0));
  ASSERT_TRUE(driver_.add(0, {header(virtio::kTypeFlush, 0)}, {status_byte()}));
  EXPECT_TRUE(driver_.ring(0));
  EXPECT_EQ(driver_.used_index(0), 0u);
  driver_.reset();
  ASSERT_TRUE(driver_.start(*device_));
  EXPECT_EQ(read_status(0, 512), kOk);
}

TEST_F(BlockTest, QuiesceCompletesEverything) {
  start(options());
  for (std::uint64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(driver_.add(0, {header(virtio::kTypeFlush, 0)}, {status_byte()}));
  }
  ASSERT_TRUE(driver_.ring(0));
  ASSERT_TRUE(device_->quiesce());
  EXPECT_EQ(device_->in_flight(), 0u);
  EXPECT_EQ(driver_.used_index(0), 4u);
}

TEST_F(BlockTest, RestoresOnlyItsOwnState) {
  start(options());
  StateWriter writer;
  device_->save(writer);
  StateReader good(writer.bytes());
  EXPECT_TRUE(device_->restore(good));
  EXPECT_TRUE(good.empty());
  std::vector<std::byte> bytes(writer.bytes().begin(), writer.bytes().end());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    StateReader cut(std::span<const std::byte>(bytes).first(size));
    EXPECT_FALSE(device_->restore(cut)) << size;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> changed = bytes;
    changed[i] ^= std::byte{1};
    StateReader reader(changed);
    EXPECT_FALSE(device_->restore(reader)) << i;
  }
}

TEST_F(BlockTest, QueuesWorkIndependently) {
  BlockOptions many = options();
  many.queues = 3;
  start(std::move(many));
  const DmaSegment data = driver_.allocate(512);
  EXPECT_EQ(request({header(virtio::kTypeIn, 40)}, {data}, 2).status, kOk);
  EXPECT_EQ(driver_.get(data), content_at(40 * 512, 512));
  EXPECT_EQ(driver_.interrupts().used[2], 1);
  EXPECT_EQ(driver_.interrupts().used[0], 0);
  MutexLock lock(device_->lock());
  EXPECT_TRUE(device_->process_queue(999)) << "a queue that is not there";
}

}  // namespace
}  // namespace bulkhead
