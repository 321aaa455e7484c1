// SPDX-License-Identifier: Apache-2.0
#include "measure/measured_file.h"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/address.h"

namespace bulkhead {

Result<void> read_through(int fd,
                          const std::function<Result<void>(std::span<const std::byte>)>& use) {
  std::vector<std::byte> buffer(64 * kKiB);
  for (off_t offset = 0;;) {
    const ssize_t count = ::pread(fd, buffer.data(), buffer.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return os_error("cannot read a file to measure it");
    if (count == 0) return {};
    TRY(use(std::span(buffer).first(static_cast<std::size_t>(count))));
    offset += count;
  }
}

Result<DigestSet> measure_file(int fd, std::span<const HashAlgorithm> banks) {
  MultiHash hash = TRY(MultiHash::create(banks));
  TRY(read_through(fd, [&](std::span<const std::byte> bytes) { return hash.update(bytes); }));
  return std::move(hash).finish();
}

}  // namespace bulkhead
