// SPDX-License-Identifier: Apache-2.0
// How guest RAM comes from a frame source, and goes back.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "mem/guest_memory.h"
#include "mem/private_frames.h"
#include "mem/scrub.h"

namespace bulkhead {
namespace {

struct Replacement {
  std::byte* start = nullptr;
  std::uint64_t size_bytes = 0;
  int flags = 0;
  int file = -1;
  std::uint64_t file_offset = 0;
};

// Maps in one step over what is there, and sets errno on failure. The system call itself: the
// thread sanitizer takes mmap(3) for a store to the whole range, and would report just those
// accesses under way for whose sake it is one step.
bool map_over(const Replacement& with) {
  return ::syscall(SYS_mmap, with.start, with.size_bytes, PROT_READ | PROT_WRITE,
                   with.flags | MAP_FIXED, with.file, with.file_offset) != -1;
}

Result<void> keep_private(std::byte* start, std::uint64_t size_bytes) {
  if (::madvise(start, size_bytes, MADV_DONTDUMP) != 0 ||
      ::madvise(start, size_bytes, MADV_DONTFORK) != 0) {
    return os_error("cannot keep guest memory out of core files and children");
  }
  return {};
}

Result<void> check_sizes(const GuestMemory::Options& options) {
  const std::uint64_t size = options.size_bytes;
  if (size < GuestMemory::kMinSize || size > GuestMemory::kMaxSize || size % kFrameSize != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "memory must be a multiple of 2 MiB, from 64 MiB to 1 TiB"};
  }
  if (options.max_bytes != 0 &&
      (options.max_bytes < size || options.max_bytes > GuestMemory::kMaxSize)) {
    return Error{Errc::kInvalidArgument, 0,
                 "memory may grow up to 1 TiB, and not to less than it has at first"};
  }
  return {};
}

}  // namespace

GuestMemory::GuestMemory(const RamLayout& layout, std::unique_ptr<FrameSource> own,
                         FrameSource& source)
    : layout_(layout), own_source_(std::move(own)), source_(source), present_(layout.units) {}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const Options& options) {
  TRY(check_sizes(options));
  std::unique_ptr<FrameSource> own = TRY(PrivateFrames::create(options.backing));
  FrameSource& source = *own;
  return create(options, std::move(own), source);
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const Options& options,
                                                         FrameSource& source) {
  TRY(check_sizes(options));
  return create(options, nullptr, source);
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(const Options& options,
                                                         std::unique_ptr<FrameSource> own,
                                                         FrameSource& source) {
  const RamLayout layout = RamLayout::of(options.size_bytes, options.max_bytes);
  std::unique_ptr<GuestMemory> memory(new GuestMemory(layout, std::move(own), source));
  TRY(memory->set_up(options));
  return memory;
}

Result<void> GuestMemory::set_up(const Options& options) {
  lock_pages_ = options.lock;
  locked_ = options.lock;
  reservation_ = TRY(Mapping::create({.size_bytes = layout_.size_bytes() + 2 * kHugePage,
                                      .protection = PROT_NONE,
                                      .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE}));
  const std::uint64_t start = reservation_.host().value();
  // Leaves at least one page of guard below, and more than that above.
  base_ = reservation_.data() + (align_up(start + kPageSize, kHugePage) - start);

  MutexLock lock(lock_);
  TRY(fill(0, layout_.boot_bytes));
  backing_ = placed_.front().extent.backing;
  if (backing_ == Backing::kCarved && layout_.units != 0) {
    // To map more of it, a monitor that runs a guest would need the descriptor of /dev/mem.
    return Error{Errc::kUnsupported, 0, "carved memory cannot grow"};
  }
  const std::uint64_t host =
      reservation_.host().value() + static_cast<std::uint64_t>(base_ - reservation_.data());
  const std::uint64_t low = layout_.low_bytes;
  regions_[region_count_++] = {Gpa(0), low, 0, Hva(host)};
  if (layout_.boot_bytes > low) {
    regions_[region_count_++] = {Gpa(kHighBase), layout_.boot_bytes - low, low, Hva(host + low)};
  }
  return {};
}

GuestMemory::~GuestMemory() {
  MutexLock lock(lock_);
  // Later there is no way to it: the source needs privileges that are gone.
  for (const Placed& placed : placed_) {
    if (placed.extent.backing == Backing::kCarved && !source_.covers_host()) {
      scrub_bytes({base_ + placed.ram_offset, placed.extent.size_bytes()});
    }
  }
  reservation_.reset();
  for (Placed& placed : placed_) source_.give_back(std::move(placed.extent));
}

// Takes extents until the range is full. On an error it is empty.
Result<void> GuestMemory::fill(std::uint64_t ram_offset, std::uint64_t size_bytes) {
  std::uint64_t done = 0;
  while (done < size_bytes) {
    const Result<std::uint64_t> got = fill_some(ram_offset + done, size_bytes - done);
    if (!got) {
      const Result<void> covered = cover(ram_offset, size_bytes);
      if (!covered) log_failure("guest_memory", covered.error());
      give_back(ram_offset, size_bytes);
      return got.error();
    }
    done += *got;
  }
  return {};
}

// Takes one extent, and returns how many bytes it has.
Result<std::uint64_t> GuestMemory::fill_some(std::uint64_t ram_offset, std::uint64_t room_bytes) {
  Placed placed{ram_offset, TRY(source_.take(room_bytes / kFrameSize))};
  Extent& extent = placed.extent;
  const bool usable = extent.frames != 0 && extent.frames <= room_bytes / kFrameSize &&
                      extent.file_offset % kFrameSize == 0;
  const Result<void> mapped =
      usable ? map(ram_offset, extent)
             : Error{Errc::kInvalidArgument, 0, "memory came in an unusable form"};
  const std::uint64_t size_bytes = extent.size_bytes();
  const FrameRun run{extent.first, extent.frames};
  if (extent.backing == Backing::kCarved) extent.file.reset();  // it reaches everybody's frames
  const auto above = std::find_if(placed_.begin(), placed_.end(), [&](const Placed& other) {
    return other.ram_offset > ram_offset;
  });
  placed_.insert(above, std::move(placed));  // also a failed one: fill() gives it back
  if (!mapped) return mapped.error();
  TRY(tell_place(ram_offset, run));
  return size_bytes;
}

// An extent may lie on both sides of the hole below 4 GiB.
Result<void> GuestMemory::tell_place(std::uint64_t ram_offset, FrameRun run) {
  const std::uint64_t low = ram_offset < layout_.low_bytes ? layout_.low_bytes - ram_offset : 0;
  const FrameRun below{run.first, std::min(run.frames, low / kFrameSize)};
  const FrameRun above{run.first + below.frames, run.frames - below.frames};
  if (below.frames > 0) TRY(source_.place(below, layout_.address_of(ram_offset)));
  if (above.frames == 0) return {};
  return source_.place(above, layout_.address_of(ram_offset + below.size_bytes()));
}

Result<void> GuestMemory::map(std::uint64_t ram_offset, const Extent& extent) {
  std::byte* start = base_ + ram_offset;
  const std::uint64_t size = extent.size_bytes();
  if (!map_over({.start = start,
                 .size_bytes = size,
                 .flags = MAP_SHARED,
                 .file = extent.file.get(),
                 .file_offset = extent.file_offset})) {
    return os_error(extent.backing == Backing::kHugetlb
                        ? "cannot map guest memory: too few free 2 MiB pages (vm.nr_hugepages)"
                        : "cannot map guest memory");
  }
  TRY(keep_private(start, size));
  // Advice that a kernel built without KSM or huge pages refuses: nothing is lost then.
  ::madvise(start, size, MADV_UNMERGEABLE);
  ::madvise(start, size, MADV_HUGEPAGE);
  if (lock_pages_ && ::mlock2(start, size, MLOCK_ONFAULT) != 0) locked_ = false;
  return {};
}

// Takes extents' place in the address space; the class says why it can be read and written.
Result<void> GuestMemory::cover(std::uint64_t ram_offset, std::uint64_t size_bytes) {
  std::byte* start = base_ + ram_offset;
  if (!map_over({.start = start,
                 .size_bytes = size_bytes,
                 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE})) {
    return os_error("cannot take guest memory away");
  }
  return keep_private(start, size_bytes);
}

// Returns the extents that lie in the range, which are mapped no more.
void GuestMemory::give_back(std::uint64_t ram_offset, std::uint64_t size_bytes) {
  const auto first = std::partition_point(placed_.begin(), placed_.end(), [&](const Placed& other) {
    return other.ram_offset < ram_offset;
  });
  auto last = first;
  while (last != placed_.end() && last->ram_offset - ram_offset < size_bytes) {
    source_.give_back(std::move((last++)->extent));
  }
  placed_.erase(first, last);
}

Result<MemoryRegion> GuestMemory::grow(std::size_t unit) {
  if (unit >= layout_.units) return Error{Errc::kOutOfRange, 0, "memory cannot grow that far"};
  MutexLock lock(lock_);
  if (has_unit(unit)) return Error{Errc::kExists, 0, "this memory is there already"};
  TRY(fill(layout_.unit_offset(unit), kGrowthUnit));
  mark_offsets_dirty(layout_.unit_offset(unit), kGrowthUnit);
  present_[unit].store(true, std::memory_order_release);
  return unit_region(unit);
}

Result<MemoryRegion> GuestMemory::shrink(std::size_t unit) {
  if (unit >= layout_.units) return Error{Errc::kOutOfRange, 0, "no such memory"};
  MutexLock lock(lock_);
  if (!has_unit(unit)) return Error{Errc::kExists, 0, "this memory is not there"};
  present_[unit].store(false, std::memory_order_release);
  const Result<void> covered = cover(layout_.unit_offset(unit), kGrowthUnit);
  if (!covered) {
    present_[unit].store(true, std::memory_order_release);
    return covered.error();
  }
  give_back(layout_.unit_offset(unit), kGrowthUnit);
  return unit_region(unit);
}

MemoryRegion GuestMemory::unit_region(std::size_t unit) const {
  const std::uint64_t offset = layout_.unit_offset(unit);
  return {layout_.unit_base(unit), kGrowthUnit, offset, regions_[0].host + offset};
}

std::vector<RamPiece> GuestMemory::pieces() const {
  std::vector<RamPiece> pieces;
  MutexLock lock(lock_);
  for (const Placed& placed : placed_) {
    pieces.push_back({.ram_offset = placed.ram_offset,
                      .size_bytes = placed.extent.size_bytes(),
                      .host = regions_[0].host + placed.ram_offset,
                      .backing = placed.extent.backing,
                      .file = placed.extent.file.get(),
                      .file_offset = placed.extent.file_offset});
  }
  return pieces;
}

}  // namespace bulkhead
