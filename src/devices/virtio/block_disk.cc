// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/block_disk.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/log.h"

namespace bulkhead {
namespace {

Result<struct stat> status_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the disk's file");
  return status;
}

// Asks for a hole behind the end of the file, where there is nothing to lose. Block devices have
// no behind: theirs is tried when the guest asks, and refused then.
bool can_punch(int fd, const struct stat& status) {
  if (S_ISBLK(status.st_mode)) return true;
  const auto behind = static_cast<off_t>(
      align_up(static_cast<std::uint64_t>(status.st_size), kPageSize) + kPageSize);
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind,
                     static_cast<off_t>(kPageSize)) == 0;
}

DiskShape shape_of_device(int fd) {
  DiskShape shape;
  int logical = 0;
  unsigned physical = 0;
  unsigned optimal = 0;
  if (::ioctl(fd, BLKSSZGET, &logical) == 0 && logical > 0) {
    shape.logical_block = static_cast<std::uint32_t>(logical);
  }
  if (::ioctl(fd, BLKPBSZGET, &physical) == 0 && physical > 0) shape.physical_block = physical;
  if (::ioctl(fd, BLKIOOPT, &optimal) == 0) shape.optimal_io = optimal;
  return shape;
}

// With O_DIRECT the host's granularity is the guest's too; Linux tells it since 6.1.
DiskShape shape_of_file(int fd) {
  DiskShape shape;
#ifdef STATX_DIOALIGN
  struct statx status{};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_DIRECT) != 0 &&
      ::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_offset_align != 0) {
    shape.logical_block = std::max(shape.logical_block, status.stx_dio_offset_align);
  }
#else
  static_cast<void>(fd);
#endif
  return shape;
}

Result<void> check_access(int fd, bool read_only) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return os_error("cannot examine the disk's descriptor");
  const int mode = flags & O_ACCMODE;
  if (mode == O_WRONLY) return Error{Errc::kInvalidArgument, 0, "the disk is not open for reading"};
  // pwrite(2) would put every write behind the end.
  if ((flags & O_APPEND) != 0) {
    return Error{Errc::kInvalidArgument, 0, "the disk is open for appending only"};
  }
  if (mode == O_RDONLY && !read_only) {
    return Error{Errc::kInvalidArgument, 0,
                 "the disk is not open for writing: make it read-only, or allow writing its file"};
  }
  return {};
}

Result<DiskShape> choose_shape(const BlockDisk::Options& options, const struct stat& status) {
  DiskShape shape = S_ISBLK(status.st_mode) ? shape_of_device(options.file.get())
                                            : shape_of_file(options.file.get());
  if (options.logical_block != 0) {
    if (options.logical_block != 512 && options.logical_block != 4096) {
      return Error{Errc::kInvalidArgument, 0, "a disk's block size is 512 or 4096 bytes"};
    }
    if (options.logical_block < shape.logical_block) {
      return Error{Errc::kInvalidArgument, 0, "the disk's block size is smaller than the host's"};
    }
    shape.logical_block = options.logical_block;
  }
  shape.physical_block = std::max(shape.physical_block, shape.logical_block);
  return shape;
}

}  // namespace

Result<std::uint64_t> disk_size(int fd) {
  const struct stat status = TRY(status_of(fd));
  std::uint64_t size = 0;
  if (S_ISBLK(status.st_mode)) {
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return os_error("cannot read the disk's size");
  } else if (S_ISREG(status.st_mode)) {
    size = static_cast<std::uint64_t>(status.st_size);
  } else {
    return Error{Errc::kInvalidArgument, 0, "a disk is a regular file or a block device"};
  }
  if (size < virtio::kSectorSize) {
    return Error{Errc::kInvalidArgument, 0, "the disk is empty: it needs at least 512 bytes"};
  }
  return size;
}

Result<BlockDisk> BlockDisk::create(Options options) {
  const int fd = options.file.get();
  const std::uint64_t size = TRY(disk_size(fd));
  TRY(check_access(fd, options.read_only));
  const struct stat status = TRY(status_of(fd));
  const DiskShape shape = TRY(choose_shape(options, status));
  BlockLimits limits;
  limits.capacity_bytes = align_down(size, shape.logical_block);
  if (limits.capacity_bytes == 0) {
    return Error{Errc::kInvalidArgument, 0, "the disk is smaller than one of its blocks"};
  }
  if (limits.capacity_bytes != size) {
    log_warning("block.odd_size", {{"size", size}, {"used", limits.capacity_bytes}});
  }
  limits.read_only = options.read_only;
  limits.can_discard = options.discard && !options.read_only && can_punch(fd, status);
  return BlockDisk(std::move(options.file), S_ISBLK(status.st_mode), limits, shape);
}

bool BlockDisk::reaches(std::uint64_t end) {
  if (is_device_) return true;
  const Result<std::uint64_t> size = disk_size(fd());
  smallest_seen_ = std::min(smallest_seen_, size ? *size : 0);
  return end <= smallest_seen_;
}

}  // namespace bulkhead
