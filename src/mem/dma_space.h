// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "mem/guest_memory.h"

namespace bulkhead {

enum class DmaAccess : std::uint8_t { kRead, kWrite };  // as the device does it

// A range that a driver named to its device.
struct DmaSegment {
  DmaAddr address;
  std::uint32_t length = 0;
};

// Where a prefix of a device's range lies in guest memory.
struct DmaRun {
  Gpa base;
  std::uint64_t length = 0;  // 1 .. what was asked for
};

// An IOMMU: decides, access by access, what a device may reach.
class DmaTranslator {
 public:
  virtual ~DmaTranslator() = default;
  virtual Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess access) const = 0;
};

// Everything of guest memory that one device can reach. A device has no other way to memory, so
// whoever sets the translator decides for the device, which need not know.
// Thread-safe as GuestMemory is.
class DmaSpace {
 public:
  // No chain of descriptors is longer than the largest queue; with a translator, each page of a
  // segment may be a run of its own, and what does not fit is refused.
  static constexpr std::size_t kMaxVectors = 1024;  // IOV_MAX of Linux

  explicit DmaSpace(GuestMemory& memory, const DmaTranslator* translator = nullptr)
      : memory_(memory), translator_(translator) {}

  // Whether an IOMMU stands between the device and memory.
  bool translated() const { return translator_ != nullptr; }

  Result<void> read(DmaAddr from, std::span<std::byte> to) const;
  Result<void> write(DmaAddr to, std::span<const std::byte> from) const;

  template <std::unsigned_integral T>
  Result<T> load(DmaAddr from, std::memory_order order = std::memory_order_acquire) const {
    const Gpa cell = TRY(translate_cell(from, sizeof(T), DmaAccess::kRead));
    return memory_.load<T>(cell, order);
  }
  template <std::unsigned_integral T>
  Result<void> store(DmaAddr to, T value,
                     std::memory_order order = std::memory_order_release) const {
    const Gpa cell = TRY(translate_cell(to, sizeof(T), DmaAccess::kWrite));
    return memory_.store<T>(cell, value, order);
  }

  // Whether the device may access all of the segment now.
  bool reachable(const DmaSegment& segment, DmaAccess access) const;

  // Gives whole pages of a segment back to the host (balloon). They read as zero afterwards.
  Result<void> discard(const DmaSegment& segment) const;

 private:
  friend class DmaCursor;
  friend class IoRing;

  Residency* residency() const { return memory_.residency(); }
  Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess access) const;
  Result<Gpa> translate_cell(DmaAddr from, std::uint64_t size, DmaAccess access) const;
  // Appends the host vectors of a segment; `used` counts those in `vectors`. Whoever has the kernel
  // write to them calls note_written() afterwards.
  Result<void> append_vectors(const DmaSegment& segment, DmaAccess access, std::span<iovec> vectors,
                              std::size_t& used) const;
  // Notes the segment's pages as dirty. Comes after the transfer: a log taken between a note and
  // the bytes would lose them.
  void note_written(const DmaSegment& segment) const;

  GuestMemory& memory_;
  const DmaTranslator* translator_;
};

// A place in a list of segments, moving forward. The segments are the caller's copy of what the
// driver wrote, and outlive the cursor.
class DmaCursor {
 public:
  std::uint64_t remaining() const { return remaining_; }
  void skip(std::uint64_t count);

 protected:
  friend class IoRing;

  DmaCursor(const DmaSpace& space, std::span<const DmaSegment> segments);

  // The part of the current segment that is left, at most `limit` bytes.
  DmaSegment current(std::uint64_t limit) const;
  Result<std::size_t> collect(std::uint64_t max_bytes, DmaAccess access,
                              std::span<iovec> vectors) const;
  // Notes that the kernel may have filled up to `max_bytes` from here. Does not move.
  void note_written(std::uint64_t max_bytes) const;

  const DmaSpace& space_;

 private:
  std::span<const DmaSegment> segments_;
  std::size_t index_ = 0;
  std::uint32_t offset_ = 0;  // within segments_[index_]
  std::uint64_t remaining_ = 0;
};

// Takes bytes that a driver made readable to its device.
class DmaReader : public DmaCursor {
 public:
  DmaReader(const DmaSpace& space, std::span<const DmaSegment> segments)
      : DmaCursor(space, segments) {}

  // All of `to`, or an Error: kTruncated when less is left, kOutOfRange when it is not RAM.
  Result<void> read(std::span<std::byte> to);
  // A wire struct; the copy is the caller's to validate and use.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<T> read() {
    T value{};
    TRY(read(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  // One writev(2) of `prefix` and then at most `max_bytes` of the guest's bytes. Returns how many
  // bytes the kernel took, prefix included, and moves on by the guest's share of them.
  Result<std::size_t> write_to(int fd, std::uint64_t max_bytes,
                               std::span<const std::byte> prefix = {});
};

// Fills bytes that a driver made writable to its device.
class DmaWriter : public DmaCursor {
 public:
  DmaWriter(const DmaSpace& space, std::span<const DmaSegment> segments)
      : DmaCursor(space, segments) {}

  // All of `from`, or an Error: kTruncated when less room is left, kOutOfRange when not RAM.
  Result<void> write(std::span<const std::byte> from);
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Result<void> write_value(const T& value) {
    return write(std::as_bytes(std::span(&value, 1)));
  }
  // One readv(2) of at most `max_bytes`. Returns the count, 0 at the end of the file.
  Result<std::size_t> read_from(int fd, std::uint64_t max_bytes);
};

}  // namespace bulkhead
