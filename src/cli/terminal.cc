// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "cli/error.h"

namespace bulkhead::cli {

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  known_ = ::tcgetattr(fd, &original_) == 0;
  enter();
}

void RawTerminal::enter() {
  if (!known_) return;
  termios raw = original_;
  ::cfmakeraw(&raw);
  raw.c_oflag |= OPOST;
  ::tcsetattr(fd_, TCSANOW, &raw);
}

// Not TCSADRAIN: on a stopped terminal that would wait for ever.
void RawTerminal::restore() {
  if (known_) ::tcsetattr(fd_, TCSANOW, &original_);
}

Fd console_output(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return Fd();  // closed by whoever started us
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    auto again = Fd::open(self.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (again) return std::move(*again);
  }
  // A regular file keeps its position this way; ConsoleSink is careful with the rest.
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) throw HostError("cannot duplicate standard output");
  return copy;
}

}  // namespace bulkhead::cli
