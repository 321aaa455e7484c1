// SPDX-License-Identifier: Apache-2.0
#include "mem/scratch_pages.h"

#include <string.h>
#include <sys/mman.h>

#include <utility>

namespace bulkhead {

Result<ScratchPages> ScratchPages::create() {
  Mapping mapping = TRY(Mapping::create({.size_bytes = kPages * kPageSize,
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  if (::mlock(mapping.data(), mapping.size()) != 0) {
    return os_error("cannot lock 64 KiB per thread for cold memory: raise RLIMIT_MEMLOCK");
  }
  if (::madvise(mapping.data(), mapping.size(), MADV_DONTDUMP) != 0 ||
      ::madvise(mapping.data(), mapping.size(), MADV_DONTFORK) != 0) {
    return os_error("cannot keep scratch pages out of core files and children");
  }
  return ScratchPages(std::move(mapping));
}

void ScratchPages::wipe(std::size_t first, std::size_t count) {
  const std::span<std::byte> part = bytes().subspan(first * kPageSize, count * kPageSize);
  ::explicit_bzero(part.data(), part.size());
}

}  // namespace bulkhead
