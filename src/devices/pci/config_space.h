// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_reader.h"
#include "base/result.h"
#include "devices/state.h"

namespace bulkhead {

// Registers of a type 0 header: PCI Local Bus 3.0 §6.1.
namespace pci {
inline constexpr std::uint8_t kVendorId = 0x00;
inline constexpr std::uint8_t kDeviceId = 0x02;
inline constexpr std::uint8_t kCommand = 0x04;
inline constexpr std::uint8_t kStatus = 0x06;
inline constexpr std::uint8_t kRevisionId = 0x08;  // with the class code in the upper three bytes
inline constexpr std::uint8_t kBar0 = 0x10;
inline constexpr std::uint8_t kSubsystemVendorId = 0x2c;
inline constexpr std::uint8_t kSubsystemId = 0x2e;
inline constexpr std::uint8_t kCapabilitiesPointer = 0x34;
inline constexpr std::uint8_t kInterruptLine = 0x3c;
inline constexpr std::uint8_t kFirstCapability = 0x40;

inline constexpr std::uint16_t kCommandMemory = 1 << 1;
inline constexpr std::uint16_t kCommandBusMaster = 1 << 2;
inline constexpr std::uint16_t kCommandIntxDisable = 1 << 10;
inline constexpr std::uint16_t kStatusCapabilities = 1 << 4;
}  // namespace pci

struct PciIdentity {
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
  std::uint32_t class_code = 0;  // base class << 16 | subclass << 8 | programming interface
  std::uint8_t revision = 0;
};

// The 256 bytes of configuration of one function: what the guest may change is in a mask beside
// them. Not thread-safe; PciFunction's lock covers it.
class PciConfigSpace {
 public:
  static constexpr std::size_t kSize = 256;

  explicit PciConfigSpace(const PciIdentity& identity);

  // For the monitor: offsets are ours.
  template <std::unsigned_integral T>
  T get(std::size_t offset) const {
    return get_le<T>(bytes_, offset);
  }
  template <std::unsigned_integral T>
  void set(std::size_t offset, T value) {
    put_le<T>(bytes_, offset, value);
  }
  // The guest may change the bits that are 1 in `mask`.
  template <std::unsigned_integral T>
  void set_writable(std::size_t offset, T mask) {
    put_le<T>(writable_, offset, mask);
  }
  // Links a capability with this identifier and what follows its first two bytes. Returns its
  // offset.
  std::uint8_t add_capability(std::uint8_t id, std::span<const std::byte> body);

  std::span<const std::byte> bytes() const { return bytes_; }

  // For the guest: any offset and length. What lies outside reads as all ones.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;
  void write(std::uint64_t offset, std::span<const std::byte> bytes);

  void save(StateWriter& writer) const;
  // Refuses the state of a function with another layout: only writable bits may differ.
  Result<void> restore(StateReader& reader);

 private:
  std::array<std::byte, kSize> bytes_{};
  std::array<std::byte, kSize> writable_{};
  std::size_t last_link_ = pci::kCapabilitiesPointer;  // where the next capability's offset goes
  std::size_t free_ = pci::kFirstCapability;
};

}  // namespace bulkhead
