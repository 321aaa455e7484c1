// SPDX-License-Identifier: Apache-2.0
#include "hostca/state_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace bulkhead::hostca {
namespace {

constexpr std::size_t kMaxSecretBytes = 4096;
constexpr std::size_t kMaxTextBytes = 256 * 1024;

Result<Fd> open_in(int directory, const char* name, int flags) {
  Fd file(::openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!file.valid()) return os_error("cannot open a file of the host's state");
  return file;
}

Result<std::size_t> read_all(int file, std::span<std::byte> buffer) {
  std::size_t used = 0;
  while (used < buffer.size()) {
    const ssize_t got = ::read(file, buffer.data() + used, buffer.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("cannot read a file of the host's state");
    if (got == 0) return used;
    used += static_cast<std::size_t>(got);
  }
  return Error{Errc::kMalformed, 0, "a file of the host's state is too long"};
}

}  // namespace

Result<StateDirectory> StateDirectory::open(const std::string& path) {
  Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory.valid()) return os_error("cannot open the directory of the host's state");
  struct stat status{};
  if (::fstat(directory.get(), &status) != 0) return os_error("cannot examine a directory");
  if ((status.st_uid != ::geteuid() && status.st_uid != 0) || (status.st_mode & 022) != 0) {
    return Error{
        Errc::kPermission, 0,
        "the directory of the host's state must be yours, and nobody else may write to it"};
  }
  return StateDirectory(std::move(directory));
}

Result<StateDirectory> StateDirectory::create(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) ::mkdir(path.substr(0, slash).c_str(), 0755);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return os_error("cannot make the directory of the host's state");
  }
  return open(path);
}

bool StateDirectory::has(const char* file) const {
  return ::faccessat(directory_.get(), file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<SecretBytes> StateDirectory::read_secret(const char* file) const {
  const Fd fd = TRY(open_in(directory_.get(), file, O_RDONLY));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return os_error("cannot examine a file");
  if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0) {
    return Error{Errc::kPermission, 0, "others may read a secret of the host's: chmod 600 it"};
  }
  SecretBytes buffer = TRY(SecretBytes::create(kMaxSecretBytes));
  const std::size_t size = TRY(read_all(fd.get(), buffer.bytes()));
  return SecretBytes::copy_of(buffer.bytes().first(size));
}

Result<std::string> StateDirectory::read_text(const char* file) const {
  const Fd fd = TRY(open_in(directory_.get(), file, O_RDONLY));
  std::string text(kMaxTextBytes, '\0');
  text.resize(TRY(read_all(fd.get(), std::as_writable_bytes(std::span(text)))));
  return text;
}

Result<void> StateDirectory::write(const char* file, std::span<const std::byte> content) const {
  const std::string beside = std::string(file) + ".new";
  ::unlinkat(directory_.get(), beside.c_str(), 0);
  const Fd fd = TRY(open_in(directory_.get(), beside.c_str(), O_WRONLY | O_CREAT | O_EXCL));
  TRY(write_all(fd.get(), content, "cannot write a file of the host's state"));
  if (::fsync(fd.get()) != 0) return os_error("cannot write a file of the host's state");
  if (::renameat(directory_.get(), beside.c_str(), directory_.get(), file) != 0 ||
      ::fsync(directory_.get()) != 0) {
    return os_error("cannot replace a file of the host's state");
  }
  return {};
}

Result<void> StateDirectory::remove(const char* file) const {
  if (::unlinkat(directory_.get(), file, 0) == 0 || errno == ENOENT) return {};
  return os_error("cannot remove a file of the host's state");
}

}  // namespace bulkhead::hostca
