// SPDX-License-Identifier: Apache-2.0
#include "seal/file_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace bulkhead {

Result<std::size_t> read_at_most(int fd, std::uint64_t offset, std::span<std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("cannot read the file");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> read_exactly(int fd, std::uint64_t offset, std::span<std::byte> bytes) {
  if (TRY(read_at_most(fd, offset, bytes)) != bytes.size()) {
    return Error{Errc::kTruncated, 0, "the file ends too early"};
  }
  return {};
}

Result<void> write_exactly(int fd, std::uint64_t offset, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put =
        ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return os_error("cannot write the file");
    done += static_cast<std::size_t>(put);
  }
  return {};
}

Result<void> sync_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  const Fd fd = TRY(Fd::open(directory.c_str(), O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return os_error("cannot sync the directory");
  return {};
}

}  // namespace bulkhead
