// SPDX-License-Identifier: Apache-2.0
#include "mem/guest_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1, include/uapi/asm-generic/mman-common.h
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3, include/uapi/linux/memfd.h
#endif

namespace bulkhead {
namespace {

Result<Fd> create_memfd(Backing backing) {
  const unsigned huge = backing == Backing::kHugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0U;
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | huge;
  int number = ::memfd_create("bulkhead-ram", flags | MFD_NOEXEC_SEAL);
  if (number < 0 && errno == EINVAL) number = ::memfd_create("bulkhead-ram", flags);
  if (number < 0) return os_error("cannot create the memory file of the partition");
  return Fd(number);
}

// Nobody can pull pages from under us by truncating, or change this decision later.
Result<void> seal(const Fd& file) {
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return os_error("cannot seal the memory file of the partition");
  }
  return {};
}

// Each pass makes progress or ends: bounded by the length.
Result<void> read_whole(int fd, std::span<std::byte> to, std::uint64_t offset) {
  while (!to.empty()) {
    const ssize_t count = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return os_error("cannot read the file");
    if (count == 0) return Error{Errc::kTruncated, 0, "the file ends too early"};
    to = to.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

}  // namespace

GuestMemory::GuestMemory(Backing backing, std::uint64_t size_bytes, Fd file, Mapping reservation)
    : backing_(backing),
      size_bytes_(size_bytes),
      file_(std::move(file)),
      reservation_(std::move(reservation)) {}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const Options& options) {
  const std::uint64_t size = options.size_bytes;
  if (size < kMinSize || size > kMaxSize || size % kHugePage != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "memory must be a multiple of 2 MiB, from 64 MiB to 1 TiB"};
  }
  Fd file = TRY(create_memfd(options.backing));
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return os_error("cannot size the memory file of the partition");
  }
  TRY(seal(file));
  Mapping reservation =
      TRY(Mapping::create({.size_bytes = size + 2 * kHugePage,
                           .protection = PROT_NONE,
                           .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE}));
  std::unique_ptr<GuestMemory> memory(
      new GuestMemory(options.backing, size, std::move(file), std::move(reservation)));
  TRY(memory->map(options.lock));
  return memory;
}

Result<void> GuestMemory::map(bool lock) {
  const auto start = reinterpret_cast<std::uintptr_t>(reservation_.data());
  // Leaves at least one page of guard below, and more than that above.
  base_ = reservation_.data() + (align_up(start + kPageSize, kHugePage) - start);
  if (::mmap(base_, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_.get(), 0) ==
      MAP_FAILED) {
    return os_error(backing_ == Backing::kHugetlb
                        ? "cannot map guest memory: too few free 2 MiB pages (vm.nr_hugepages)"
                        : "cannot map guest memory");
  }
  if (::madvise(base_, size_bytes_, MADV_DONTDUMP) != 0 ||
      ::madvise(base_, size_bytes_, MADV_DONTFORK) != 0) {
    return os_error("cannot keep guest memory out of core files and children");
  }
  // Advice that a kernel built without KSM or huge pages refuses: nothing is lost then.
  ::madvise(base_, size_bytes_, MADV_UNMERGEABLE);
  ::madvise(base_, size_bytes_, MADV_HUGEPAGE);
  locked_ = lock && ::mlock2(base_, size_bytes_, MLOCK_ONFAULT) == 0;

  const std::uint64_t low = std::min(size_bytes_, kLowLimit);
  const auto host = reinterpret_cast<std::uintptr_t>(base_);
  regions_[region_count_++] = {Gpa(0), low, 0, Hva(host)};
  if (size_bytes_ > low) {
    regions_[region_count_++] = {Gpa(kHighBase), size_bytes_ - low, low, Hva(host + low)};
  }
  return {};
}

const MemoryRegion* GuestMemory::find(Gpa base, std::uint64_t length) const {
  for (const MemoryRegion& region : regions()) {
    if (base < region.base) continue;
    if (range_fits(base - region.base, length, region.size_bytes)) return &region;
  }
  return nullptr;
}

std::byte* GuestMemory::host(Gpa base, std::uint64_t length) const {
  const MemoryRegion* region = find(base, length);
  if (region == nullptr) return nullptr;
  return base_ + region->backing_offset + (base - region->base);
}

Result<void> GuestMemory::read(Gpa from, std::span<std::byte> to) const {
  const std::byte* source = host(from, to.size());
  if (source == nullptr) return bad_range();
  if (!to.empty()) std::memcpy(to.data(), source, to.size());
  return {};
}

Result<void> GuestMemory::write(Gpa to, std::span<const std::byte> from) {
  std::byte* target = host(to, from.size());
  if (target == nullptr) return bad_range();
  if (!from.empty()) std::memcpy(target, from.data(), from.size());
  mark_dirty(to, from.size());
  return {};
}

Result<void> GuestMemory::zero(Gpa base, std::uint64_t length) {
  std::byte* target = host(base, length);
  if (target == nullptr) return bad_range();
  std::memset(target, 0, length);
  mark_dirty(base, length);
  return {};
}

Result<void> GuestMemory::copy_from_fd(Gpa to, std::uint64_t length, int fd,
                                       std::uint64_t file_offset) {
  std::byte* target = host(to, length);
  if (target == nullptr) return bad_range();
  const Result<void> result = read_whole(fd, {target, length}, file_offset);
  mark_dirty(to, length);  // after the bytes, also those that came before a failure
  return result;
}

Result<void> GuestMemory::discard(Gpa base, std::uint64_t length) {
  const MemoryRegion* region = find(base, length);
  if (region == nullptr) return bad_range();
  const std::uint64_t unit = backing_ == Backing::kHugetlb ? kHugePage : kPageSize;
  const std::uint64_t first = align_up(region->backing_offset + (base - region->base), unit);
  const std::uint64_t last =
      align_down(region->backing_offset + (base - region->base) + length, unit);
  if (first >= last) return {};
  if (::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(first), static_cast<off_t>(last - first)) != 0) {
    return os_error("cannot give guest memory back to the host");
  }
  mark_dirty(base, length);
  return {};
}

// MADV_COLLAPSE works whatever the host's policy for huge pages in shared memory is (Debian's
// default is "never"), but only where at least one small page exists already: touch one first.
std::uint64_t GuestMemory::populate_huge(Gpa base, std::uint64_t length) {
  std::byte* start = host(base, length);
  if (start == nullptr || base.value() % kHugePage != 0) return 0;
  std::uint64_t done = 0;
  for (std::uint64_t offset = 0; offset + kHugePage <= length; offset += kHugePage) {
    if (backing_ == Backing::kMemfd) {
      __atomic_fetch_or(reinterpret_cast<std::uint8_t*>(start + offset), 0, __ATOMIC_RELAXED);
      if (::madvise(start + offset, kHugePage, MADV_COLLAPSE) != 0) break;
    } else if (::madvise(start + offset, kHugePage, MADV_POPULATE_WRITE) != 0) {
      break;
    }
    done += kHugePage;
  }
  return done;
}

void GuestMemory::start_dirty_log() {
  if (dirty_logging_.load(std::memory_order_acquire)) return;
  dirty_ = std::vector<std::atomic<std::uint64_t>>((size_bytes_ / kPageSize + 63) / 64);
  dirty_logging_.store(true, std::memory_order_release);
}

std::vector<std::uint64_t> GuestMemory::take_dirty_log(std::size_t region_index) {
  CHECK(region_index < region_count_ && dirty_logging_);
  const MemoryRegion& region = regions_[region_index];
  // Regions are multiples of 2 MiB (512 pages), so each starts at a whole word.
  const std::uint64_t first = region.backing_offset / kPageSize / 64;
  std::vector<std::uint64_t> taken(region.size_bytes / kPageSize / 64);
  for (std::size_t word = 0; word < taken.size(); ++word)
    taken[word] = dirty_[first + word].exchange(0);
  return taken;
}

void GuestMemory::mark_dirty(Gpa base, std::uint64_t length) {
  if (!logs_dirty() || length == 0) return;
  const MemoryRegion* region = find(base, length);
  if (region == nullptr) return;
  const std::uint64_t start = region->backing_offset + (base - region->base);
  for (std::uint64_t page = start / kPageSize; page <= (start + length - 1) / kPageSize; ++page) {
    dirty_[page / 64].fetch_or(std::uint64_t{1} << (page % 64), std::memory_order_release);
  }
}

}  // namespace bulkhead
