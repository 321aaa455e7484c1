// SPDX-License-Identifier: Apache-2.0
#include "boot/file_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/address.h"

namespace bulkhead::boot {

Result<FileReader> FileReader::create(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the file");
  if (!S_ISREG(status.st_mode)) return Error{Errc::kInvalidArgument, 0, "not a regular file"};
  return FileReader(fd, 0, static_cast<std::uint64_t>(status.st_size));
}

Result<FileReader> FileReader::from(std::uint64_t offset) const {
  if (offset > size_) return Error{Errc::kTruncated, 0, "the file is truncated"};
  return FileReader(fd_, base_ + offset, size_ - offset);
}

Result<void> FileReader::read(std::uint64_t offset, std::span<std::byte> to) const {
  if (!range_fits(offset, to.size(), size_)) {
    return Error{Errc::kTruncated, 0, "the file is truncated"};
  }
  while (!to.empty()) {
    const ssize_t got = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(base_ + offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("cannot read the file");
    if (got == 0) return Error{Errc::kTruncated, 0, "the file shrank while it was read"};
    to = to.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace bulkhead::boot
