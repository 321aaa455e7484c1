// SPDX-License-Identifier: Apache-2.0
#include "mem/guest_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1, include/uapi/asm-generic/mman-common.h
#endif
namespace bulkhead {
namespace {

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

std::optional<std::uint64_t> GuestMemory::offset_of(Gpa base, std::uint64_t length) const {
  for (const MemoryRegion& region : regions()) {
    if (base < region.base) continue;
    const std::uint64_t offset = base - region.base;
    if (range_fits(offset, length, region.size_bytes)) return region.ram_offset + offset;
  }
  const Gpa growth = layout_.growth_base;
  if (base >= growth) {
    if (!units_cover(base - growth, length)) return std::nullopt;
    return layout_.boot_bytes + (base - growth);
  }
  // A driver may join neighbouring pages of boot RAM and of the first unit into one buffer.
  const MemoryRegion& last = regions().back();
  if (layout_.boot_end() != growth || base < last.base) return std::nullopt;
  if (!units_cover(0, length - (growth - base))) return std::nullopt;
  return last.ram_offset + (base - last.base);
}

bool GuestMemory::units_cover(std::uint64_t offset, std::uint64_t length) const {
  if (!range_fits(offset, length, layout_.growth_bytes())) return false;
  for (std::uint64_t unit = offset / kGrowthUnit; unit * kGrowthUnit < offset + length; ++unit) {
    if (!has_unit(unit)) return false;
  }
  return true;
}

std::byte* GuestMemory::host(Gpa base, std::uint64_t length) const {
  const std::optional<std::uint64_t> offset = offset_of(base, length);
  return offset ? base_ + *offset : nullptr;
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
  const std::optional<std::uint64_t> offset = offset_of(base, length);
  if (!offset) return bad_range();
  const std::uint64_t unit = backing_ == Backing::kHugetlb ? kHugePage : kPageSize;
  const std::uint64_t first = align_up(*offset, unit);
  const std::uint64_t last = align_down(*offset + length, unit);
  if (first >= last) return {};
  if (Residency* manager = residency()) {
    TRY(manager->discard({PageIndex(first / kPageSize), (last - first) / kPageSize}));
    mark_dirty(base, length);
    return {};
  }
  MutexLock lock(lock_);
  Result<void> result;
  for (const Placed& placed : placed_) {
    const std::uint64_t from = std::max(first, placed.ram_offset);
    const std::uint64_t to = std::min(last, placed.ram_offset + placed.extent.size_bytes());
    if (from < to) result = discard_part(placed, from, to);
    if (!result) break;
  }
  mark_dirty(base, length);  // also after a failure: parts of it may be gone
  return result;
}

// RAM offsets [from, to), which the extent has.
Result<void> GuestMemory::discard_part(const Placed& placed, std::uint64_t from, std::uint64_t to) {
  if (placed.extent.backing == Backing::kCarved) {
    std::memset(base_ + from, 0, to - from);
    return {};
  }
  const std::uint64_t in_file = placed.extent.file_offset + (from - placed.ram_offset);
  if (::fallocate(placed.extent.file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(in_file), static_cast<off_t>(to - from)) != 0) {
    return os_error("cannot give guest memory back to the host");
  }
  return {};
}

// MADV_COLLAPSE works whatever the host's policy for huge pages in shared memory is (Debian's
// default is "never"), but only where at least one small page exists already: touch one first.
std::uint64_t GuestMemory::populate_huge(Gpa base, std::uint64_t length) {
  std::byte* start = host(base, length);
  if (start == nullptr || base.value() % kHugePage != 0 || residency() != nullptr) return 0;
  if (backing_ == Backing::kCarved) return 0;  // Linux maps /dev/mem in small pages only
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
  MutexLock lock(lock_);
  if (logs_dirty()) return;
  dirty_ = std::vector<std::atomic<std::uint64_t>>((layout_.size_bytes() / kPageSize + 63) / 64);
  dirty_logging_.store(true, std::memory_order_release);
}

std::vector<std::uint64_t> GuestMemory::take_dirty_log(const MemoryRegion& region) {
  CHECK(logs_dirty());
  CHECK(range_fits(region.ram_offset, region.size_bytes, layout_.size_bytes()));
  // Regions are multiples of 2 MiB (512 pages), so each starts at a whole word.
  CHECK(region.ram_offset % kFrameSize == 0 && region.size_bytes % kFrameSize == 0);
  const std::uint64_t first = region.ram_offset / kPageSize / 64;
  std::vector<std::uint64_t> taken(region.size_bytes / kPageSize / 64);
  for (std::size_t word = 0; word < taken.size(); ++word)
    taken[word] = dirty_[first + word].exchange(0);
  return taken;
}

void GuestMemory::mark_dirty(Gpa base, std::uint64_t length) {
  if (!logs_dirty() || length == 0) return;
  const std::optional<std::uint64_t> offset = offset_of(base, length);
  if (offset) mark_offsets_dirty(*offset, length);
}

void GuestMemory::mark_offsets_dirty(std::uint64_t offset, std::uint64_t length) {
  if (!logs_dirty()) return;
  for (std::uint64_t page = offset / kPageSize; page <= (offset + length - 1) / kPageSize; ++page) {
    dirty_[page / 64].fetch_or(std::uint64_t{1} << (page % 64), std::memory_order_release);
  }
}

}  // namespace bulkhead
