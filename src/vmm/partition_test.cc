// SPDX-License-Identifier: Apache-2.0
#include "vmm/partition.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "mem/private_frames.h"
#include "vmm/counting_guest_for_test.h"

namespace bulkhead {
namespace {

void change_every_block(int file) {
  for (off_t at = 100; at < ::lseek(file, 0, SEEK_END); at += kPageSize) {
    std::byte byte{};
    ASSERT_EQ(::pread(file, &byte, 1, at), 1);
    byte ^= std::byte{1};
    ASSERT_EQ(::pwrite(file, &byte, 1, at), 1);
  }
}

class PartitionTest : public testing::Test {
 protected:
  void SetUp() override {
    auto system = kvm::System::open();
    if (!system) GTEST_SKIP() << system.error().what;
    kvm_.emplace(std::move(*system));
    ASSERT_TRUE(kvm::install_kick_signal());
    spec_.name = "test";
    spec_.memory_bytes = 64 * kMiB;
    spec_.max_memory_bytes = 64 * kMiB + kGrowthUnit;
    spec_.kernel_kind = KernelKind::kElfPvh;
    spec_.kernel_fd = kernel_.get();
    spec_.seal.store_fd = store_.get();
  }

  void start() {
    auto made = Partition::create(spec_, {*kvm_, *loop_, *console_, *frames_});
    ASSERT_TRUE(made) << made.error().what;
    partition_ = std::move(*made);
    partition_->run();
    ASSERT_TRUE(runs());
  }

  // Whether the guest gets on.
  bool runs() {
    const std::uint64_t before = outputs();
    for (int i = 0; i < 1000; ++i) {
      if (outputs() > before + 10) return !partition_->outcome();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  // The processor meets a sealed page that was changed.
  void meet_changed_page() {
    ASSERT_TRUE(partition_->suspend());
    const VcpuPause pause = partition_->pause();
    ASSERT_TRUE(partition_->wake());
    change_every_block(store_.get());
  }
  std::uint64_t outputs() { return partition_->vcpus().exit_counts()[0]; }

  Fd kernel_ = counting_guest();
  Fd store_{::memfd_create("store", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  LaunchSpec spec_;
  std::optional<kvm::System> kvm_;
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  std::unique_ptr<ConsoleHub> console_ = ConsoleHub::create(*loop_, {}, [] {}).value();
  std::unique_ptr<PrivateFrames> frames_ = PrivateFrames::create(Backing::kMemfd).value();
  std::unique_ptr<Partition> partition_;
};

TEST_F(PartitionTest, IsSuspendedAndGoesOnAgainAndAgain) {
  spec_.cpus = 2;
  start();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(partition_->suspend());
    EXPECT_TRUE(partition_->suspended());
    const std::uint64_t before = outputs();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(outputs(), before);
    ASSERT_TRUE(partition_->wake());
    EXPECT_FALSE(partition_->suspended());
    ASSERT_TRUE(runs());
  }
}

TEST_F(PartitionTest, GoesOnWhenItCannotBeSuspended) {
  start();
  ASSERT_TRUE(partition_->suspend());
  ASSERT_TRUE(partition_->wake());
  ASSERT_TRUE(runs());
  ASSERT_EQ(::fcntl(store_.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  for (int round = 0; round < 2; ++round) {
    EXPECT_FALSE(partition_->suspend());
    EXPECT_FALSE(partition_->suspended());
    ASSERT_TRUE(runs());
  }
}

TEST_F(PartitionTest, EndsWhileItIsSuspended) {
  start();
  ASSERT_TRUE(partition_->suspend());
  partition_->finish(Outcome::kStopped);
  partition_.reset();
}

TEST_F(PartitionTest, EndsWhenASealedPageWasChanged) {
  if (!UserFault::create()) GTEST_SKIP() << "no userfaultfd";
  start();
  meet_changed_page();
  ASSERT_TRUE(loop_->run());
  EXPECT_EQ(partition_->outcome(), Outcome::kFailed);
  partition_.reset();
}

// The page that was changed does not keep the processor from stopping.
TEST_F(PartitionTest, EndsWhenASealedPageWasChangedAfterTheEnd) {
  if (!UserFault::create()) GTEST_SKIP() << "no userfaultfd";
  start();
  partition_->finish(Outcome::kStopped);
  meet_changed_page();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  partition_.reset();
}

}  // namespace
}  // namespace bulkhead
