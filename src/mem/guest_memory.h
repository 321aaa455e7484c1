// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "base/address.h"
#include "base/mapping.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "mem/frame_source.h"
#include "mem/ram_layout.h"
#include "mem/residency.h"

namespace bulkhead {

// One contiguous range of guest RAM, in the form in which a memory slot needs it.
struct MemoryRegion {
  Gpa base;
  std::uint64_t size_bytes = 0;
  std::uint64_t ram_offset = 0;  // mem/ram_layout.h
  Hva host;
};

// A part of guest RAM as it is mapped from one file. For mem/ alone.
struct RamPiece {
  std::uint64_t ram_offset = 0;
  std::uint64_t size_bytes = 0;
  Hva host;
  Backing backing = Backing::kMemfd;
  int file = -1;  // stays open until the piece goes; -1 when kCarved
  std::uint64_t file_offset = 0;
};

// The RAM of one partition: extents from a frame source, mapped one after the other. It is never
// merged with another page (KSM), never written to a core file, and never inherited by a child.
//
// This class and DmaSpace are the only ways to it. Guest RAM changes while we look at it, so every
// access copies: no pointer into it leaves mem/. All methods may be called from any thread.
//
// Units of 128 MiB come and go above the boot RAM. Readers take no lock: a unit is there when its
// flag says so, which is set after it is mapped and cleared before it goes. An access that found
// the flag set may still be under way when the unit goes, in a thread or, as a read(2) into guest
// memory that waits for data, in the kernel; a hostile guest can arrange that. So the unit's
// addresses never become invalid again: anonymous memory takes its place in one step (mmap with
// MAP_FIXED holds the lock that page faults wait for), and swallows what comes late. The next unit
// there replaces it. I/O that pinned pages finishes on those, which the kernel keeps until then.
//
// No access ends in SIGBUS, provided that nobody truncates the files: the private ones are sealed;
// of the host's pool see mem/file_pool.cc.
class GuestMemory {
 public:
  static constexpr std::uint64_t kLowLimit = RamLayout::kLowLimit;
  static constexpr std::uint64_t kHighBase = RamLayout::kHighBase.value();
  static constexpr std::uint64_t kMinSize = 64 * kMiB;
  static constexpr std::uint64_t kMaxSize = 1024 * kGiB;
  static constexpr std::uint64_t kHugePage = kFrameSize;

  struct Options {
    std::uint64_t size_bytes = 0;       // at boot, a multiple of 2 MiB
    Backing backing = Backing::kMemfd;  // of private frames
    bool lock = false;  // keep the pages off the host's swap, as far as RLIMIT_MEMLOCK allows
    std::uint64_t max_bytes = 0;  // with all growth units; 0: none. kCarved memory cannot grow
  };

  // The first keeps private frames (mem/private_frames.h) for itself; of the second, `source`
  // outlives the object. Boot RAM and units go back to the source in the end.
  static Result<std::unique_ptr<GuestMemory>> create(const Options& options);
  static Result<std::unique_ptr<GuestMemory>> create(const Options& options, FrameSource& source);

  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  ~GuestMemory();

  std::uint64_t size_bytes() const { return layout_.boot_bytes; }  // at boot
  const RamLayout& layout() const { return layout_; }
  Backing backing() const { return backing_; }
  bool locked() const { return locked_.load(std::memory_order_relaxed); }
  // Of boot RAM, which is always there.
  std::span<const MemoryRegion> regions() const { return {regions_.data(), region_count_}; }
  // Whether all of [base, base + length) is RAM now, without a hole.
  bool contains(Gpa base, std::uint64_t length) const {
    return offset_of(base, length).has_value();
  }

  // Units are numbered from 0. The caller shows the region to the vCPUs after grow(), and has taken
  // it from them before shrink(), whose content is destroyed. kExists: already so.
  Result<MemoryRegion> grow(std::size_t unit);
  Result<MemoryRegion> shrink(std::size_t unit);
  MemoryRegion unit_region(std::size_t unit) const;
  bool has_unit(std::size_t unit) const {
    return unit < layout_.units && present_[unit].load(std::memory_order_acquire);
  }

  Result<void> read(Gpa from, std::span<std::byte> to) const;
  Result<void> write(Gpa to, std::span<const std::byte> from);
  Result<void> zero(Gpa base, std::uint64_t length);
  // Reads `length` bytes of a file, from `file_offset`, straight into RAM. A file that ends before
  // that is an error (kTruncated).
  Result<void> copy_from_fd(Gpa to, std::uint64_t length, int fd, std::uint64_t file_offset);

  // One access of a naturally aligned integer, indivisible towards the guest.
  template <std::unsigned_integral T>
  Result<T> load(Gpa from, std::memory_order order = std::memory_order_acquire) const {
    const T* cell = aligned_cell<T>(from);
    if (cell == nullptr) return bad_range();
    return __atomic_load_n(cell, static_cast<int>(order));
  }
  template <std::unsigned_integral T>
  Result<void> store(Gpa to, T value, std::memory_order order = std::memory_order_release) {
    T* cell = aligned_cell<T>(to);
    if (cell == nullptr) return bad_range();
    __atomic_store_n(cell, value, static_cast<int>(order));
    mark_dirty(to, sizeof(T));
    return {};
  }

  // From now on somebody decides which pages are in RAM; nullptr: nobody does any more. Called
  // while no transfer is under way.
  void set_residency(Residency* residency) {
    residency_.store(residency, std::memory_order_release);
  }

  // Gives whole pages in the range back to the host; they read as zero afterwards. Carved
  // memory is overwritten, and stays ours.
  Result<void> discard(Gpa base, std::uint64_t length);
  // Asks for 2 MiB pages under [base, base + length), populating them. Returns how many bytes got
  // one; 0 where the host cannot, or a Residency manages pages. A partition runs without them, with
  // more faults.
  std::uint64_t populate_huge(Gpa base, std::uint64_t length);

  // From now on, pages written by us (devices, loaders) are noted, and those of a unit that comes;
  // what the guest itself writes is KVM's log. Bit n of the result is page n of the region.
  // Reading clears.
  void start_dirty_log();
  std::vector<std::uint64_t> take_dirty_log(const MemoryRegion& region);

  // In ascending order, without gaps but where units are absent. What is there may change as soon
  // as a unit comes or goes.
  std::vector<RamPiece> pieces() const;

 private:
  friend class DmaSpace;

  // An extent, and where it is mapped.
  struct Placed {
    std::uint64_t ram_offset = 0;
    Extent extent;
  };

  GuestMemory(const RamLayout& layout, std::unique_ptr<FrameSource> own, FrameSource& source);
  static Result<std::unique_ptr<GuestMemory>> create(const Options& options,
                                                     std::unique_ptr<FrameSource> own,
                                                     FrameSource& source);
  static Error bad_range() { return Error{Errc::kOutOfRange, 0, "not guest RAM"}; }

  // guest_memory_extents.cc
  Result<void> set_up(const Options& options);
  Result<void> fill(std::uint64_t ram_offset, std::uint64_t size_bytes) REQUIRES(lock_);
  Result<std::uint64_t> fill_some(std::uint64_t ram_offset, std::uint64_t room_bytes)
      REQUIRES(lock_);
  Result<void> tell_place(std::uint64_t ram_offset, FrameRun run);
  Result<void> map(std::uint64_t ram_offset, const Extent& extent);
  Result<void> cover(std::uint64_t ram_offset, std::uint64_t size_bytes);
  void give_back(std::uint64_t ram_offset, std::uint64_t size_bytes) REQUIRES(lock_);

  Result<void> discard_part(const Placed& placed, std::uint64_t from, std::uint64_t to);
  // Where the range is, if all of it is RAM.
  std::optional<std::uint64_t> offset_of(Gpa base, std::uint64_t length) const;
  bool units_cover(std::uint64_t offset, std::uint64_t length) const;
  // The host address of a range, or nullptr.
  std::byte* host(Gpa base, std::uint64_t length) const;
  void mark_dirty(Gpa base, std::uint64_t length);
  void mark_offsets_dirty(std::uint64_t offset, std::uint64_t length);
  // nullptr: all pages are in RAM, or come by themselves.
  Residency* residency() const { return residency_.load(std::memory_order_acquire); }
  bool logs_dirty() const { return dirty_logging_.load(std::memory_order_acquire); }

  template <class T>
  T* aligned_cell(Gpa address) const {
    if (address.value() % sizeof(T) != 0) return nullptr;
    return reinterpret_cast<T*>(host(address, sizeof(T)));  // alignment checked above
  }

  const RamLayout layout_;
  const std::unique_ptr<FrameSource> own_source_;  // null: somebody else's
  FrameSource& source_;
  Backing backing_ = Backing::kMemfd;
  bool lock_pages_ = false;
  std::atomic<bool> locked_ = false;
  Mapping reservation_;        // address space with a guard on both sides
  std::byte* base_ = nullptr;  // RAM offset 0: 2 MiB aligned, inside the reservation
  std::array<MemoryRegion, 2> regions_;
  std::size_t region_count_ = 0;
  std::vector<std::atomic<bool>> present_;  // one per growth unit
  std::atomic<Residency*> residency_ = nullptr;
  std::atomic<bool> dirty_logging_ = false;
  std::vector<std::atomic<std::uint64_t>> dirty_;  // one bit per page, growth units included

  mutable Mutex lock_;                            // of everything but accesses
  std::vector<Placed> placed_ GUARDED_BY(lock_);  // ascending
};

}  // namespace bulkhead
