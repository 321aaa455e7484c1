// SPDX-License-Identifier: Apache-2.0
#include "seal/file_medium.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/address.h"
#include "seal/file_io.h"

namespace bulkhead {

Result<FileMedium> FileMedium::adopt(Fd fd, Access access) {
  const int kind = access == Access::kWrite ? LOCK_EX : LOCK_SH;
  if (::flock(fd.get(), kind | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error{Errc::kBusy, errno, "the store is in use"};
    return os_error("cannot lock the store");
  }
  return FileMedium(std::move(fd));
}

Result<FileMedium> FileMedium::open(const std::string& path, Access access) {
  return adopt(TRY(Fd::open(path.c_str(), access == Access::kWrite ? O_RDWR : O_RDONLY)), access);
}

Result<FileMedium> FileMedium::create(const std::string& path) {
  FileMedium medium =
      TRY(adopt(TRY(Fd::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)), Access::kWrite));
  TRY(sync_directory_of(path));
  return medium;
}

Result<void> FileMedium::read_at(std::uint64_t offset, std::span<std::byte> bytes) {
  return read_exactly(fd_.get(), offset, bytes);
}

Result<void> FileMedium::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  return write_exactly(fd_.get(), offset, bytes);
}

Result<void> FileMedium::sync() {
  if (::fdatasync(fd_.get()) != 0) return os_error("cannot sync the store");
  return {};
}

std::uint64_t FileMedium::size() {
  // Not fstat(): a block device's size is only known to seeking.
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  return end < 0 ? 0 : static_cast<std::uint64_t>(end);
}

Result<void> FileMedium::grow(std::uint64_t size_bytes) {
  const std::uint64_t old = size();
  if (old >= size_bytes) return {};
  // Real space, so that a full disk shows here and not when a block is written.
  if (::fallocate(fd_.get(), 0, static_cast<off_t>(old), static_cast<off_t>(size_bytes - old)) ==
      0) {
    return {};
  }
  // A block device has the size that it has.
  if (errno == ENODEV || errno == EFBIG) {
    return Error{Errc::kExhausted, errno, "the store cannot be larger"};
  }
  if (errno != EOPNOTSUPP) return os_error("cannot make the store larger");
  if (::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0) {
    return os_error("cannot make the store larger");
  }
  return {};
}

void FileMedium::discard(std::uint64_t offset, std::uint64_t length) {
  // A file system that cannot do it keeps the space, which is no error.
  [[maybe_unused]] const int ignored =
      ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length));
}

}  // namespace bulkhead
