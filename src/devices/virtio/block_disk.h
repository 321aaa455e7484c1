// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/block_request.h"

namespace bulkhead {

// The size in bytes of a regular file or a block device. Anything else is an error, and so is a
// disk without a single sector.
Result<std::uint64_t> disk_size(int fd);

// How a disk likes to be used (virtio 1.2 §5.2.4: blk_size and topology).
struct DiskShape {
  std::uint32_t logical_block = 512;    // bytes: the smallest request
  std::uint32_t physical_block = 4096;  // bytes: smaller ones are slow
  std::uint32_t optimal_io = 0;         // bytes; 0: unknown
};

// The file behind a disk. Its capacity is fixed when it is opened: whoever truncates the file later
// takes a part of the disk away, but never moves the rest, and what is gone reads as an error.
class BlockDisk {
 public:
  struct Options {
    Fd file;
    bool read_only = false;
    bool discard = true;              // the guest may give the file's space back
    std::uint32_t logical_block = 0;  // 512 or 4096; 0: as the host's
  };

  static Result<BlockDisk> create(Options options);

  int fd() const { return file_.get(); }
  const BlockLimits& limits() const { return limits_; }
  const DiskShape& shape() const { return shape_; }

  // Whether the file still reaches to `end`. A write beyond would make it grow again, with a hole
  // where the guest's data was. (A block device that shrank refuses by itself.)
  bool reaches(std::uint64_t end);

 private:
  BlockDisk(Fd file, bool is_device, const BlockLimits& limits, const DiskShape& shape)
      : file_(std::move(file)),
        is_device_(is_device),
        limits_(limits),
        shape_(shape),
        smallest_seen_(limits.capacity_bytes) {}

  Fd file_;
  bool is_device_;
  BlockLimits limits_;
  DiskShape shape_;
  std::uint64_t smallest_seen_;  // never grows
};

}  // namespace bulkhead
