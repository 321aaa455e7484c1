// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/block_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace bulkhead {
namespace {

Fd file_of(std::uint64_t size) {
  Fd file(::memfd_create("disk", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(size)), 0);
  return file;
}

Fd reopen(const Fd& file, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  return Fd::open(path.c_str(), flags).value();
}

TEST(DiskSize, KnowsFilesAndRefusesOtherThings) {
  EXPECT_EQ(disk_size(file_of(512).get()).value(), 512u);
  EXPECT_EQ(disk_size(file_of(12'345).get()).value(), 12'345u);
  EXPECT_FALSE(disk_size(file_of(511).get()));
  EXPECT_FALSE(disk_size(file_of(0).get()));
  EXPECT_FALSE(disk_size(-1));
  EXPECT_FALSE(disk_size(Fd::open("/dev/null", O_RDWR).value().get()));
  EXPECT_FALSE(disk_size(Fd::open("/proc", O_RDONLY).value().get()));
  EXPECT_FALSE(disk_size(Fd::event().value().get()));
}

TEST(BlockDisk, UsesWholeBlocksOnly) {
  const BlockDisk disk = BlockDisk::create({.file = file_of(10'000)}).value();
  EXPECT_EQ(disk.limits().capacity_bytes, 19u * 512);
  EXPECT_TRUE(disk.limits().can_discard);
  const BlockDisk coarse =
      BlockDisk::create({.file = file_of(10'000), .logical_block = 4096}).value();
  EXPECT_EQ(coarse.limits().capacity_bytes, 8'192u);
  EXPECT_EQ(coarse.shape().logical_block, 4096u);
  EXPECT_FALSE(BlockDisk::create({.file = file_of(4'095), .logical_block = 4096}));
  EXPECT_FALSE(BlockDisk::create({.file = file_of(8'192), .logical_block = 513}));
}

TEST(BlockDisk, ChecksHowTheFileIsOpen) {
  const Fd file = file_of(4096);
  EXPECT_FALSE(BlockDisk::create({.file = reopen(file, O_RDONLY)}));
  EXPECT_TRUE(BlockDisk::create({.file = reopen(file, O_RDONLY), .read_only = true}));
  EXPECT_FALSE(BlockDisk::create({.file = reopen(file, O_WRONLY)}));
  EXPECT_FALSE(BlockDisk::create({.file = reopen(file, O_RDWR | O_APPEND)}));
}

TEST(BlockDisk, ProbingChangesNothing) {
  const Fd file = file_of(10'000);
  ASSERT_EQ(::pwrite(file.get(), "end", 3, 9'997), 3);
  ASSERT_TRUE(BlockDisk::create({.file = file.duplicate().value()}));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 10'000);
  char end[3];
  ASSERT_EQ(::pread(file.get(), end, 3, 9'997), 3);
  EXPECT_EQ(std::string(end, 3), "end");
}

TEST(BlockDisk, RemembersTheSmallestSize) {
  const Fd file = file_of(8'192);
  BlockDisk disk = BlockDisk::create({.file = file.duplicate().value()}).value();
  EXPECT_TRUE(disk.reaches(8'192));
  ASSERT_EQ(::ftruncate(file.get(), 5'000), 0);
  EXPECT_TRUE(disk.reaches(5'000));
  EXPECT_FALSE(disk.reaches(5'001));
  ASSERT_EQ(::ftruncate(file.get(), 100), 0);
  EXPECT_FALSE(disk.reaches(512));
  ASSERT_EQ(::ftruncate(file.get(), 8'192), 0);
  EXPECT_FALSE(disk.reaches(512));
}

}  // namespace
}  // namespace bulkhead
