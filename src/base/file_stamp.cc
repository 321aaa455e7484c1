// SPDX-License-Identifier: Apache-2.0
#include "base/file_stamp.h"

#include <sys/stat.h>
#include <time.h>

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::uint64_t kFreshNs = 2'000'000'000;  // coarser than any file system's clock

std::uint64_t to_ns(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

Result<FileStamp> FileStamp::of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return os_error("cannot examine the file");
  return FileStamp{status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
                   to_ns(status.st_mtim), to_ns(status.st_ctim)};
}

bool FileStamp::is_fresh() const {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::uint64_t newest = std::max(modified_ns, changed_ns);
  const std::uint64_t time = to_ns(now);
  return newest > time || time - newest < kFreshNs;
}

}  // namespace bulkhead
