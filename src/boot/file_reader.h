// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace bulkhead::boot {

// A bounded view of a regular file, or of a part of one. Reads with pread, so that the file's
// position does not matter; borrows the descriptor.
class FileReader {
 public:
  // The whole file. Refuses what is not a regular file.
  static Result<FileReader> create(int fd);
  // [offset, end) of this view, as a view of its own.
  Result<FileReader> from(std::uint64_t offset) const;

  std::uint64_t size() const { return size_; }
  // All of `to`, or kTruncated.
  Result<void> read(std::uint64_t offset, std::span<std::byte> to) const;

  int fd() const { return fd_; }
  std::uint64_t base() const { return base_; }  // where in the file the view starts

 private:
  FileReader(int fd, std::uint64_t base, std::uint64_t size) : fd_(fd), base_(base), size_(size) {}

  int fd_;
  std::uint64_t base_;
  std::uint64_t size_;
};

}  // namespace bulkhead::boot
