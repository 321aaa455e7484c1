// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace bulkhead {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

Result<Fd> Fd::open(const char* path, int flags, unsigned mode) {
  int number = ::open(path, flags | O_CLOEXEC, mode);
  if (number < 0) return os_error("cannot open the file");
  return Fd(number);
}

Result<Fd> Fd::event() {
  int number = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (number < 0) return os_error("cannot create an eventfd");
  return Fd(number);
}

Result<Fd> Fd::duplicate() const {
  int number = ::fcntl(number_, F_DUPFD_CLOEXEC, 0);
  if (number < 0) return os_error("cannot duplicate a descriptor");
  return Fd(number);
}

void Fd::reset() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const char* failure) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return os_error(failure);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

void signal_event(int event_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(event_fd, &one, sizeof one);
}

bool drain_event(int event_fd) {
  std::uint64_t count = 0;
  return ::read(event_fd, &count, sizeof count) == sizeof count;
}

}  // namespace bulkhead
