// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "mem/frame_source.h"

namespace bulkhead {

// One contiguous range of guest RAM, in the form in which a memory slot needs it.
struct MemoryRegion {
  Gpa base;
  std::uint64_t size_bytes = 0;
  std::uint64_t backing_offset = 0;
  Hva host;
};

// The RAM of one partition. Its memory is created sealed (it cannot shrink or grow under us), is
// never merged with another page (KSM), never written to a core file, and never inherited by a
// child.
//
// This class and DmaSpace are the only ways to it. Guest RAM changes while we look at it, so every
// access copies: no pointer into it leaves mem/. All methods may be called from any thread.
class GuestMemory {
 public:
  // RAM lies at [0, kLowLimit) and, what does not fit there, from kHighBase.
  static constexpr std::uint64_t kLowLimit = 3 * kGiB;
  static constexpr std::uint64_t kHighBase = 4 * kGiB;
  static constexpr std::uint64_t kMinSize = 64 * kMiB;
  static constexpr std::uint64_t kMaxSize = 1024 * kGiB;
  static constexpr std::uint64_t kHugePage = 2 * kMiB;

  struct Options {
    std::uint64_t size_bytes = 0;  // a multiple of 2 MiB
    Backing backing = Backing::kMemfd;
    bool lock = false;  // keep the pages off the host's swap, as far as RLIMIT_MEMLOCK allows
  };

  static Result<std::unique_ptr<GuestMemory>> create(const Options& options);

  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  std::uint64_t size_bytes() const { return size_bytes_; }
  Backing backing() const { return backing_; }
  bool locked() const { return locked_; }
  std::span<const MemoryRegion> regions() const { return {regions_.data(), region_count_}; }
  // Whether all of [base, base + length) is RAM of one region.
  bool contains(Gpa base, std::uint64_t length) const { return find(base, length) != nullptr; }

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

  // Gives whole pages in the range back to the host; they read as zero afterwards.
  Result<void> discard(Gpa base, std::uint64_t length);
  // Asks for 2 MiB pages under [base, base + length), populating them. Returns how many bytes got
  // one; 0 where the host cannot. A partition runs without them, with more faults.
  std::uint64_t populate_huge(Gpa base, std::uint64_t length);

  // From now on, pages written by us (devices, loaders) are noted; what the guest itself writes is
  // KVM's log. Bit n of the result is page n of the region. Reading clears.
  void start_dirty_log();
  std::vector<std::uint64_t> take_dirty_log(std::size_t region_index);

 private:
  friend class DmaSpace;

  GuestMemory(Backing backing, std::uint64_t size_bytes, Fd file, Mapping reservation);
  static Error bad_range() { return Error{Errc::kOutOfRange, 0, "not guest RAM"}; }
  Result<void> map(bool lock);
  const MemoryRegion* find(Gpa base, std::uint64_t length) const;
  // The host address of a range that lies within one region, or nullptr.
  std::byte* host(Gpa base, std::uint64_t length) const;
  void mark_dirty(Gpa base, std::uint64_t length);
  bool logs_dirty() const { return dirty_logging_.load(std::memory_order_acquire); }

  template <class T>
  T* aligned_cell(Gpa address) const {
    if (address.value() % sizeof(T) != 0) return nullptr;
    return reinterpret_cast<T*>(host(address, sizeof(T)));  // alignment checked above
  }

  Backing backing_;
  bool locked_ = false;
  std::uint64_t size_bytes_;
  Fd file_;
  Mapping reservation_;        // address space with a guard on both sides
  std::byte* base_ = nullptr;  // 2 MiB aligned, inside the reservation
  std::array<MemoryRegion, 2> regions_;
  std::size_t region_count_ = 0;
  std::atomic<bool> dirty_logging_ = false;
  std::vector<std::atomic<std::uint64_t>> dirty_;  // one bit per page of the backing
};

}  // namespace bulkhead
