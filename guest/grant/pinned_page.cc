// SPDX-License-Identifier: Apache-2.0
#include "grant/pinned_page.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>

namespace bulkhead::guest {
namespace {

// Documentation/admin-guide/mm/pagemap.rst
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;

Result<Fd> pin(const Mapping& memory) {
  io_uring_params parameters{};
  Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring.valid()) return os_error("cannot create an io_uring, which pins pages");
  const iovec page{.iov_base = memory.data(), .iov_len = memory.size()};
  if (::syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_BUFFERS, &page, 1) != 0) {
    return os_error("cannot pin a page");
  }
  return ring;
}

Result<Gfn> gfn_of(const Mapping& memory) {
  const Fd map = TRY(Fd::open("/proc/self/pagemap", O_RDONLY));
  std::uint64_t entry = 0;
  const auto place = static_cast<off_t>(memory.host().value() / kPageSize * sizeof entry);
  if (::pread(map.get(), &entry, sizeof entry, place) != sizeof entry) {
    return os_error("cannot read the page map");
  }
  // To anybody but root the kernel shows frame 0.
  if ((entry & kPresent) == 0 || (entry & kFrameMask) == 0) {
    return Error{Errc::kPermission, 0, "the kernel does not tell where a page lies: not root?"};
  }
  return Gfn(entry & kFrameMask);
}

}  // namespace

Result<PinnedPage> PinnedPage::create() {
  Mapping memory =
      TRY(Mapping::create({.size_bytes = kPageSize,
                           .protection = PROT_READ | PROT_WRITE,
                           .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE}));
  Fd ring = TRY(pin(memory));
  const Gfn gfn = TRY(gfn_of(memory));
  return PinnedPage(std::move(memory), std::move(ring), gfn);
}

}  // namespace bulkhead::guest
