// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <map>
#include <memory>

#include "mem/engine_for_test.h"
#include "mem/io_ring.h"

namespace bulkhead {
namespace {

// Counts pins by host address.
class FakeResidency : public Residency {
 public:
  Result<void> pin(std::span<const iovec> pieces) override {
    if (refuses) return Error{Errc::kExhausted, 0, "too many pins"};
    for (const iovec& piece : pieces) {
      ++pins_[piece.iov_base];
      bytes += piece.iov_len;
    }
    most = std::max(most, bytes);
    return {};
  }
  void unpin(std::span<const iovec> pieces) override {
    for (const iovec& piece : pieces) {
      EXPECT_GT(pins_[piece.iov_base]--, 0);
      bytes -= piece.iov_len;
    }
  }
  Result<void> discard(PageRun pages) override {
    discarded = pages;
    return {};
  }

  bool refuses = false;
  std::uint64_t bytes = 0;  // pinned now
  std::uint64_t most = 0;
  PageRun discarded{};

 private:
  std::map<void*, int> pins_;
};

class IoRingPinTest : public testing::Test {
 protected:
  IoRingPinTest() {
    EXPECT_EQ(::ftruncate(file_.get(), kMiB), 0);
    memory_->set_residency(&residency_);
  }
  void finish() {
    ring_.submit();
    std::array<IoCompletion, 4> done;
    while (ring_.in_flight() > 0) ring_.reap(done);
  }

  FakeResidency residency_;
  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = 64 * kMiB}).value();
  DmaSpace space_{*memory_};
  Fd file_{::memfd_create("disk", MFD_CLOEXEC)};
  std::shared_ptr<EngineFaults> faults_ = std::make_shared<EngineFaults>();
  IoRing ring_{std::make_unique<FaultEngine>(create_sync_engine(file_.get(), 4).value(), faults_),
               4};
  const DmaSegment segments_[2] = {{DmaAddr(100), 5'000}, {DmaAddr(1 * kMiB), 5'000}};
};

TEST_F(IoRingPinTest, TransfersArePinnedUntilTheyEnd) {
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  EXPECT_EQ(residency_.bytes, 10'000u);
  ASSERT_TRUE(ring_.queue_write(2, DmaReader(space_, segments_), {0, 5'000}, false));
  EXPECT_EQ(residency_.bytes, 15'000u);
  finish();
  EXPECT_EQ(residency_.bytes, 0u);
}

TEST_F(IoRingPinTest, PartsOfATransferAreEachPinnedOnce) {
  faults_->most_bytes = 999;
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  finish();
  EXPECT_EQ(residency_.bytes, 0u);
  EXPECT_EQ(residency_.most, 10'000u);
}

TEST_F(IoRingPinTest, CancelledTransfersAreNotPinned) {
  faults_->hold = true;
  ASSERT_TRUE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  ring_.cancel_all();
  EXPECT_EQ(residency_.bytes, 0u);
}

TEST_F(IoRingPinTest, ARefusedPinQueuesNothing) {
  residency_.refuses = true;
  EXPECT_FALSE(ring_.queue_read(1, DmaWriter(space_, segments_), {0, 10'000}));
  EXPECT_EQ(ring_.in_flight(), 0u);
  ring_.queue_zeroes(2, {0, 4096});  // from our own memory: no pins
  finish();
}

TEST_F(IoRingPinTest, ManagedMemoryIsDiscardedByItsManager) {
  ASSERT_TRUE(memory_->discard(Gpa(2 * kMiB + 100), 3 * kPageSize));
  EXPECT_EQ(residency_.discarded.first, PageIndex(513));
  EXPECT_EQ(residency_.discarded.count, 2u);
  EXPECT_EQ(memory_->populate_huge(Gpa(0), 4 * kMiB), 0u);
}

}  // namespace
}  // namespace bulkhead
