// SPDX-License-Identifier: Apache-2.0
#include "boot/unpack/cache_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <vector>

#include "crypto/random.h"

namespace bulkhead::boot {
namespace {

constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr time_t kStaleTemporaryS = 3600;

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

// Whether only we (or root) decide what the file contains.
bool is_private(const struct stat& status) {
  return (status.st_uid == ::geteuid() || status.st_uid == 0) &&
         (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value != nullptr ? value : "";
}

void make_directory(const std::string& path) {
  ::mkdir(path.c_str(), 0700);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

struct Listed {
  std::string name;
  time_t modified_s;
};

std::vector<Listed> list_files(int directory_fd, std::string_view suffix) {
  std::vector<Listed> files;
  // A description of its own: the position of a shared one would stay at the end.
  const int copy = ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return files;
  const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(copy));
  if (directory == nullptr) {
    ::close(copy);
    return files;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    struct stat status{};
    if (std::string_view(entry->d_name).ends_with(suffix) &&
        ::fstatat(directory_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      files.push_back({entry->d_name, status.st_mtim.tv_sec});
    }
  }
  return files;
}

}  // namespace

Result<std::string> CacheDirectory::default_path() {
  if (::geteuid() == 0) return std::string("/var/cache/bulkhead");
  const std::string xdg = environment("XDG_CACHE_HOME");
  if (xdg.starts_with('/')) return xdg + "/bulkhead";  // a relative one is to be ignored
  const std::string home = environment("HOME");
  if (home.starts_with('/')) return home + "/.cache/bulkhead";
  return Error{Errc::kNotFound, 0, "no place for a cache: neither XDG_CACHE_HOME nor HOME is set"};
}

Result<CacheDirectory> CacheDirectory::open(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) make_directory(path.substr(0, slash));
  make_directory(path);  // if this fails, open says why
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return os_error("cannot open the kernel cache directory");
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return os_error("cannot examine the kernel cache directory");
  if (!is_private(status)) {
    return Error{Errc::kPermission, 0, "others may write to the kernel cache directory"};
  }
  return CacheDirectory(std::move(fd));
}

Result<Fd> CacheDirectory::open_file(const std::string& name) const {
  Fd fd(::openat(fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return os_error("cannot open a cached file");
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return os_error("cannot examine a cached file");
  if (!S_ISREG(status.st_mode) || !is_private(status)) {
    return Error{Errc::kPermission, 0, "others may write to a cached file"};
  }
  return fd;
}

void CacheDirectory::remove(const std::string& name) const {
  ::unlinkat(fd_.get(), name.c_str(), 0);
}

Result<CacheDirectory::NewFile> CacheDirectory::create_file() const {
  std::uint64_t number = 0;
  TRY(random_bytes(std::as_writable_bytes(std::span(&number, 1))));
  std::string name = std::to_string(number).append(kTemporarySuffix);
  Fd fd(::openat(fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return os_error("cannot create a file in the kernel cache");
  return NewFile(fd_.get(), std::move(fd), std::move(name));
}

void CacheDirectory::prune(std::string_view suffix, std::size_t keep) const {
  const time_t stale = now().tv_sec - kStaleTemporaryS;
  for (const Listed& file : list_files(fd_.get(), kTemporarySuffix)) {
    if (file.modified_s < stale) remove(file.name);
  }
  auto files = list_files(fd_.get(), suffix);
  if (files.size() <= keep) return;
  std::ranges::sort(files, std::ranges::greater{}, &Listed::modified_s);
  for (const Listed& file : std::span(files).subspan(keep)) remove(file.name);
}

CacheDirectory::NewFile::NewFile(int directory_fd, Fd fd, std::string name)
    : directory_fd_(directory_fd), fd_(std::move(fd)), temporary_name_(std::move(name)) {}

CacheDirectory::NewFile::NewFile(NewFile&& other) noexcept
    : directory_fd_(other.directory_fd_),
      fd_(std::move(other.fd_)),
      temporary_name_(std::exchange(other.temporary_name_, {})) {}

CacheDirectory::NewFile::~NewFile() {
  if (!temporary_name_.empty()) ::unlinkat(directory_fd_, temporary_name_.c_str(), 0);
}

Result<void> CacheDirectory::NewFile::publish(const std::string& name) {
  if (::fchmod(fd_.get(), 0400) != 0 || ::fsync(fd_.get()) != 0 ||
      ::renameat(directory_fd_, temporary_name_.c_str(), directory_fd_, name.c_str()) != 0) {
    return os_error("cannot complete a file in the kernel cache");
  }
  temporary_name_.clear();
  if (::fsync(directory_fd_) != 0) return os_error("cannot complete the kernel cache directory");
  return {};
}

Result<void> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return os_error("cannot write to the kernel cache");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

}  // namespace bulkhead::boot
