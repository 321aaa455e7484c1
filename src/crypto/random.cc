// SPDX-License-Identifier: Apache-2.0
#include "crypto/random.h"

#include <sys/random.h>

#include <cerrno>

namespace bulkhead {

Result<void> random_bytes(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("cannot get random bytes from the host");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<std::uint64_t> random_below(std::uint64_t bound) {
  CHECK(bound != 0 && bound <= std::uint64_t{1} << 32);
  std::uint64_t value = 0;
  TRY(random_bytes(std::as_writable_bytes(std::span(&value, 1))));
  return value % bound;
}

}  // namespace bulkhead
