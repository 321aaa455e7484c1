// SPDX-License-Identifier: Apache-2.0
#include "mem/private_frames.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "mem/scrub.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3, include/uapi/linux/memfd.h
#endif

namespace bulkhead {
namespace {

constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 28;  // 512 TiB: more than a CPU addresses

Result<Fd> create_memfd(Backing backing) {
  const unsigned huge = backing == Backing::kHugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0U;
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | huge;
  int number = ::memfd_create("bulkhead-ram", flags | MFD_NOEXEC_SEAL);
  if (number < 0 && errno == EINVAL) number = ::memfd_create("bulkhead-ram", flags);
  if (number < 0) return os_error("cannot create a memory file of the partition");
  return Fd(number);
}

Result<Fd> create_sealed(Backing backing, std::uint64_t size_bytes) {
  Fd file = TRY(create_memfd(backing));
  if (::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) {
    return os_error("cannot size a memory file of the partition");
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return os_error("cannot seal a memory file of the partition");
  }
  return file;
}

}  // namespace

Result<std::unique_ptr<PrivateFrames>> PrivateFrames::create(Backing backing) {
  if (backing == Backing::kCarved) {
    return Error{Errc::kInvalidArgument, 0, "carved memory needs its address"};
  }
  return std::unique_ptr<PrivateFrames>(new PrivateFrames(backing, kMaxFrames, 0, nullptr));
}

std::unique_ptr<PrivateFrames> PrivateFrames::create_carved(const CarvedRange& range,
                                                            const char* device) {
  return std::unique_ptr<PrivateFrames>(
      new PrivateFrames(Backing::kCarved, range.frames(), range.base(), device));
}

// First fit.
Result<FrameRun> PrivateFrames::reserve(std::uint64_t frames) {
  if (frames == 0) return Error{Errc::kInvalidArgument, 0, "no frames were asked for"};
  MutexLock lock(lock_);
  FrameRun run{FrameIndex(0), std::min(frames, capacity_)};
  auto next = taken_.begin();
  while (next != taken_.end() && run.overlaps(*next)) run.first = (next++)->end();
  if (!range_fits(run.first.value(), frames, capacity_)) {
    return Error{Errc::kExhausted, 0,
                 backing_ == Backing::kCarved ? "the carved range is smaller than the partition"
                                              : "too much memory"};
  }
  taken_.insert(next, run);
  return run;
}

void PrivateFrames::release(FrameIndex first) {
  MutexLock lock(lock_);
  const auto run = std::find_if(taken_.begin(), taken_.end(),
                                [&](const FrameRun& taken) { return taken.first == first; });
  CHECK(run != taken_.end());
  taken_.erase(run);
}

Result<Fd> PrivateFrames::open(const FrameRun& run) const {
  if (backing_ != Backing::kCarved) return create_sealed(backing_, run.size_bytes());
  Fd device = TRY(Fd::open(device_, O_RDWR));
  // The memory may be as its last user, or the last kernel before a warm start, left it.
  TRY(scrub_file({.file = device.get(),
                  .backing = Backing::kCarved,
                  .offset = base_ + run.first.value() * kFrameSize,
                  .size_bytes = run.size_bytes()}));
  return device;
}

Result<Extent> PrivateFrames::take(std::uint64_t frames) {
  const FrameRun run = TRY(reserve(frames));
  Result<Fd> file = open(run);
  if (!file) {
    release(run.first);
    return file.error();
  }
  const bool carved = backing_ == Backing::kCarved;
  return Extent{.first = run.first,
                .frames = run.frames,
                .backing = backing_,
                .file = std::move(*file),
                .file_offset = carved ? base_ + run.first.value() * kFrameSize : 0};
}

void PrivateFrames::give_back(Extent extent) {
  if (extent.backing != Backing::kCarved) {
    const Result<void> scrubbed = scrub_file({.file = extent.file.get(),
                                              .backing = extent.backing,
                                              .offset = extent.file_offset,
                                              .size_bytes = extent.size_bytes()});
    // The kernel clears the pages before anybody else gets them, all the same.
    if (!scrubbed) log_failure("scrub", scrubbed.error());
  }
  release(extent.first);
}

}  // namespace bulkhead
