// SPDX-License-Identifier: Apache-2.0
#include "agent/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace bulkhead::agent {

Result<Bytes> read_file(const char* path, std::size_t max_bytes) {
  constexpr std::size_t kStep = 64 * 1024;
  const Fd file = TRY(Fd::open(path, O_RDONLY));
  Bytes content;
  while (content.size() <= max_bytes) {
    const std::size_t at = content.size();
    content.resize(at + kStep);
    const ssize_t got = ::read(file.get(), content.data() + at, kStep);
    if (got < 0 && errno != EINTR) return os_error("cannot read the file");
    content.resize(at + static_cast<std::size_t>(got < 0 ? 0 : got));
    if (got == 0) return content;
  }
  return Error{Errc::kExhausted, 0, "the file is too large"};
}

}  // namespace bulkhead::agent
