// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace bulkhead {

// A 64-bit address of one kind. Kinds do not mix: a guest-physical address is not a device's bus
// address, nor a host-virtual one, although all three are numbers.
template <class Kind>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(std::uint64_t value) : value_(value) {}

  constexpr std::uint64_t value() const { return value_; }
  constexpr auto operator<=>(const Address&) const = default;

  // Wraps like the hardware's adder does. Range checks are the business of whoever owns the range.
  constexpr Address operator+(std::uint64_t offset) const { return Address(value_ + offset); }
  constexpr std::uint64_t operator-(Address other) const { return value_ - other.value_; }

 private:
  std::uint64_t value_ = 0;
};

using Gpa = Address<struct GpaKind>;          // guest-physical
using Gfn = Address<struct GfnKind>;          // guest-physical, in pages of 4 KiB
using Hva = Address<struct HvaKind>;          // host-virtual, in this process
using DmaAddr = Address<struct DmaAddrKind>;  // as a device names memory: what an IOMMU translates
using PortAddr = Address<struct PortKind>;    // x86 I/O port

// A 4 KiB page by its place in what it belongs to (a partition's memory, a disk): logical, so that
// it stays the same wherever the page lies.
using PageIndex = Address<struct PageIndexKind>;
// A 2 MiB frame by its number in the host's ledger.
using FrameIndex = Address<struct FrameIndexKind>;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kPageSize = 4 * kKiB;      // unit of sealing
inline constexpr std::uint64_t kFrameSize = 2 * kMiB;     // unit of allocation
inline constexpr std::uint64_t kGrowthUnit = 128 * kMiB;  // unit of growth and shrinking

// Whether [offset, offset + length) lies in [0, size). Never wraps.
constexpr bool range_fits(std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  return offset <= size && length <= size - offset;
}

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}

// The caller makes sure that `value` is not within one alignment unit of the top.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t power_of_two) {
  return align_down(value + power_of_two - 1, power_of_two);
}

}  // namespace bulkhead
