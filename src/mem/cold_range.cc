// SPDX-License-Identifier: Apache-2.0
#include "mem/cold_range.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24  // Linux 5.18, include/uapi/asm-generic/mman-common.h
#endif

namespace bulkhead {
namespace {

// Never written: the kernel's shared page of zeroes.
alignas(kPageSize) std::array<std::byte, ColdRange::kMaxRun * kPageSize> zero_pages;

void* to_pointer(Hva address) {
  return reinterpret_cast<void*>(address.value());
}

Error short_transfer() {
  return Error{Errc::kIo, 0, "the memory file ends inside guest memory"};
}

Result<void> check(const ColdExtent& extent) {
  const std::uint64_t numbers =
      extent.host.value() | extent.size_bytes | extent.file_offset | (extent.size_bytes == 0);
  if (numbers % kPageSize != 0) {
    return Error{Errc::kInvalidArgument, 0, "cold memory is made of whole pages"};
  }
  struct statfs system{};
  struct stat file{};
  if (::fstatfs(extent.file, &system) != 0 || ::fstat(extent.file, &file) != 0) {
    return os_error("cannot examine the memory file");
  }
  const auto size = static_cast<std::uint64_t>(file.st_size);
  if (!range_fits(extent.file_offset, extent.size_bytes, size)) {
    return Error{Errc::kOutOfRange, 0, "the memory file ends before cold memory does"};
  }
  if (system.f_type != TMPFS_MAGIC || !S_ISREG(file.st_mode)) {
    return Error{Errc::kUnsupported, 0, "cold memory needs ordinary pages: memfd, not hugetlb"};
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<ColdRange>> ColdRange::create(const ColdExtent& extent) {
  TRY(check(extent));
  Fd file(::fcntl(extent.file, F_DUPFD_CLOEXEC, 3));
  if (!file.valid()) return os_error("cannot duplicate a descriptor");
  // A huge page would come and go as a whole.
  if (::madvise(to_pointer(extent.host), extent.size_bytes, MADV_NOHUGEPAGE) != 0 &&
      errno != EINVAL) {  // EINVAL: a kernel without huge pages
    return os_error("cannot have small pages");
  }
  return std::make_shared<ColdRange>(extent, std::move(file));
}

ColdRange::ColdRange(const ColdExtent& extent, Fd file)
    : host_(extent.host),
      count_(extent.size_bytes / kPageSize),
      file_(std::move(file)),
      file_offset_(extent.file_offset),
      first_(extent.first),
      states_(count_) {}

Result<std::uint64_t> ColdRange::adopt() {
  std::uint64_t found = 0;
  std::uint64_t page = 0;
  while (page < count_) {
    const off_t data = ::lseek(file_.get(), offset(page), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) return os_error("cannot find the pages of the memory file");
    page = (static_cast<std::uint64_t>(data) - file_offset_) / kPageSize;
    const off_t hole = ::lseek(file_.get(), data, SEEK_HOLE);
    if (hole < 0) return os_error("cannot find the pages of the memory file");
    const std::uint64_t end = (static_cast<std::uint64_t>(hole) - file_offset_) / kPageSize;
    for (; page < std::min(end, count_); ++page, ++found) {
      CHECK(states_.take_or_want(page) == PageState::kUntouched);
      states_.finish(page, PageState::kDirty);
    }
  }
  return found;
}

Result<void> ColdRange::unmap(std::uint64_t page, std::uint64_t count) const {
  const HostRun run = host(page, count);
  void* const start = to_pointer(run.start);
  if (::madvise(start, run.size_bytes, MADV_DONTNEED_LOCKED) == 0) return {};
  if (errno == EINVAL && ::madvise(start, run.size_bytes, MADV_DONTNEED) == 0) return {};
  return os_error("cannot unmap guest memory");
}

Result<void> ColdRange::read(std::uint64_t page, std::span<std::byte> to) const {
  const ssize_t size = ::pread(file_.get(), to.data(), to.size(), offset(page));
  if (size < 0) return os_error("cannot read guest memory");
  if (static_cast<std::size_t>(size) != to.size()) return short_transfer();
  return {};
}

Result<void> ColdRange::overwrite(std::uint64_t page, ConstPageBytes with) const {
  const ssize_t size = ::pwrite(file_.get(), with.data(), with.size(), offset(page));
  if (size < 0) return os_error("cannot write guest memory");
  if (static_cast<std::size_t>(size) != with.size()) return short_transfer();
  return {};
}

Result<void> ColdRange::erase(std::uint64_t page, std::uint64_t count) const {
  CHECK(count <= kMaxRun);
  const std::size_t size = count * kPageSize;
  const ssize_t written = ::pwrite(file_.get(), zero_pages.data(), size, offset(page));
  const bool zeroed = written == static_cast<ssize_t>(size);
  if (::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset(page),
                  static_cast<off_t>(size)) != 0) {
    return os_error("cannot give guest memory back to the host");
  }
  if (!zeroed) return Error{Errc::kIo, 0, "cannot overwrite guest memory before it is freed"};
  return {};
}

Result<void> ColdRange::free_leftovers() const {
  if (::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset(0),
                  static_cast<off_t>(count_ * kPageSize)) != 0) {
    return os_error("cannot give guest memory back to the host");
  }
  return {};
}

void ColdRange::forbid(std::uint64_t page, std::uint64_t count) const {
  const HostRun run = host(page, count);
  CHECK(::mprotect(to_pointer(run.start), run.size_bytes, PROT_NONE) == 0);
}

HostRun whole_pages(const iovec& piece) {
  const auto start = reinterpret_cast<std::uintptr_t>(piece.iov_base);
  const std::uint64_t first = align_down(start, kPageSize);
  return {Hva(first), align_up(start + piece.iov_len, kPageSize) - first};
}

namespace {

ColdRangeUse use(const std::shared_ptr<ColdRange>& range) {
  range->enter();
  return ColdRangeUse(range);
}

Hva host_start(const std::shared_ptr<ColdRange>& range) {
  return range->whole().start;
}
PageIndex first_page(const std::shared_ptr<ColdRange>& range) {
  return range->first();
}

template <class Entries, class Key, class Projection>
ColdRangeUse lookup(const Entries& entries, Key key, Projection projection) {
  const auto next = std::ranges::upper_bound(entries, key, {}, projection);
  if (next != entries.begin() && (*(next - 1))->contains(key)) return use(*(next - 1));
  return next != entries.end() ? use(*next) : ColdRangeUse();
}

// Whether [start, start + size) meets a neighbour of the place where it would go.
template <class Entries, class Key, class Projection>
bool overlaps(const Entries& entries, Key start, std::uint64_t size, Projection projection,
              std::uint64_t unit) {
  const auto next = std::ranges::upper_bound(entries, start, {}, projection);
  if (next != entries.end() && projection(*next) - start < size) return true;
  if (next == entries.begin()) return false;
  const std::shared_ptr<ColdRange>& below = *(next - 1);
  return start - projection(below) < below->count() * unit;
}

}  // namespace

Result<void> ColdRanges::check_free(const ColdRange& range) const {
  const MutexLock lock(mutex_);
  const HostRun host = range.whole();
  if (overlaps(ranges_, range.first(), range.count(), first_page, 1) ||
      overlaps(by_host_, host.start, host.size_bytes, host_start, kPageSize)) {
    return Error{Errc::kExists, 0, "cold memory manages some of these pages already"};
  }
  return {};
}

void ColdRanges::add(std::shared_ptr<ColdRange> range) {
  const MutexLock lock(mutex_);
  ranges_.insert(std::ranges::upper_bound(ranges_, range->first(), {}, first_page), range);
  by_host_.insert(std::ranges::upper_bound(by_host_, host_start(range), {}, host_start), range);
}

std::shared_ptr<ColdRange> ColdRanges::remove(PageIndex first) {
  std::shared_ptr<ColdRange> range;
  {
    const MutexLock lock(mutex_);
    const auto entry = std::ranges::find(ranges_, first, first_page);
    if (entry == ranges_.end()) return nullptr;
    range = *entry;
    ranges_.erase(entry);
    std::erase(by_host_, range);
  }
  range->wait_until_unused();
  return range;
}

ColdRangeUse ColdRanges::find(Hva address) const {
  ColdRangeUse range = at_or_above(address);
  return range && range->contains(address) ? std::move(range) : ColdRangeUse();
}

ColdRangeUse ColdRanges::at_or_above(PageIndex page) const {
  const MutexLock lock(mutex_);
  return lookup(ranges_, page, first_page);
}

ColdRangeUse ColdRanges::at_or_above(Hva address) const {
  const MutexLock lock(mutex_);
  return lookup(by_host_, address, host_start);
}

std::vector<std::shared_ptr<ColdRange>> ColdRanges::all() const {
  const MutexLock lock(mutex_);
  return ranges_;
}

}  // namespace bulkhead
