// SPDX-License-Identifier: Apache-2.0
#include "mem/scrub.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"

namespace bulkhead {
namespace {

constexpr std::size_t kChunk = 256 * kKiB;           // stays in the processor's cache
constexpr std::uint64_t kMappedAtOnce = 128 * kMiB;  // page tables come and go with it
constinit const std::array<std::byte, kChunk> kZeroes{};

// Only where the kernel has data: pages in memory or in swap, and not what was never touched.
Result<void> scrub_pages(const FilePart& part) {
  const std::uint64_t end = part.offset + part.size_bytes;
  std::uint64_t at = part.offset;
  while (at < end) {
    const off_t data = ::lseek(part.file, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};  // no more data
    if (data < 0) return os_error("cannot find out what a memory file holds");
    const off_t hole = ::lseek(part.file, data, SEEK_HOLE);
    if (hole < 0) return os_error("cannot find out what a memory file holds");
    at = static_cast<std::uint64_t>(data);
    const std::uint64_t until = std::min(static_cast<std::uint64_t>(hole), end);
    while (at < until) {
      const std::size_t size = std::min<std::uint64_t>(kChunk, until - at);
      const ssize_t count = ::pwrite(part.file, kZeroes.data(), size, static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return os_error("cannot overwrite a memory file");
      at += static_cast<std::uint64_t>(count);
    }
  }
  return {};
}

// hugetlbfs cannot tell holes from data, but reading does not fill them.
Result<bool> reads_as_zero(int file, std::uint64_t offset, std::uint64_t size) {
  std::array<std::byte, 16 * kKiB> bytes;
  for (std::uint64_t done = 0; done < size;) {
    const ssize_t count =
        ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return os_error("cannot read a memory file");
    if (count == 0) return true;  // the file ends here
    if (std::memcmp(bytes.data(), kZeroes.data(), static_cast<std::size_t>(count)) != 0)
      return false;
    done += static_cast<std::uint64_t>(count);
  }
  return true;
}

// The kernel stores here, and says EFAULT where a store of ours would be answered by SIGBUS.
Result<void> zero_by_kernel(std::span<std::byte> bytes) {
  const Fd zero = TRY(Fd::open("/dev/zero", O_RDONLY));
  while (!bytes.empty()) {
    const ssize_t count = ::read(zero.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return os_error("cannot overwrite a memory file");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

// hugetlbfs has no write(2): a page is overwritten where it is mapped.
Result<void> scrub_huge_pages(const FilePart& part) {
  const int seals = ::fcntl(part.file, F_GET_SEALS);
  const bool can_shrink = seals < 0 || (seals & F_SEAL_SHRINK) == 0;
  for (std::uint64_t done = 0; done < part.size_bytes; done += kFrameSize) {
    const std::uint64_t at = part.offset + done;
    if (TRY(reads_as_zero(part.file, at, kFrameSize))) continue;
    const Mapping page = TRY(Mapping::create({.size_bytes = kFrameSize,
                                              .protection = PROT_READ | PROT_WRITE,
                                              .flags = MAP_SHARED | MAP_NORESERVE,
                                              .fd = part.file,
                                              .offset = at}));
    if (can_shrink) {
      TRY(zero_by_kernel(page.bytes()));
    } else {
      scrub_bytes(page.bytes());
    }
  }
  return {};
}

// Physical memory is always there, and always may hold something.
Result<void> scrub_physical(const FilePart& part) {
  for (std::uint64_t done = 0; done < part.size_bytes;) {
    const std::uint64_t size = std::min(kMappedAtOnce, part.size_bytes - done);
    const Mapping mapping = TRY(Mapping::create({.size_bytes = size,
                                                 .protection = PROT_READ | PROT_WRITE,
                                                 .flags = MAP_SHARED,
                                                 .fd = part.file,
                                                 .offset = part.offset + done}));
    scrub_bytes(mapping.bytes());
    done += size;
  }
  return {};
}

}  // namespace

Result<void> scrub_file(const FilePart& part) {
  switch (part.backing) {
    case Backing::kMemfd:
      return scrub_pages(part);
    case Backing::kHugetlb:
      return scrub_huge_pages(part);
    case Backing::kCarved:
      return scrub_physical(part);
  }
  return Error{Errc::kInvalidArgument, 0, "no such backing"};
}

void scrub_bytes(std::span<std::byte> bytes) {
  ::explicit_bzero(bytes.data(), bytes.size());
}

}  // namespace bulkhead
