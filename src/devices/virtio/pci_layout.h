// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "devices/pci/config_space.h"
#include "devices/virtio/device.h"

// How a virtio PCI function looks: its identity, its capabilities, and what lies where in its BAR.

namespace bulkhead::virtio_pci {

// The BAR: one page for each structure.
inline constexpr std::size_t kBar = 0;
inline constexpr std::uint64_t kBarSize = 32 * kKiB;
inline constexpr std::uint64_t kCommonOffset = 0x0000;
inline constexpr std::uint64_t kIsrOffset = 0x1000;
inline constexpr std::uint64_t kDeviceOffset = 0x2000;
inline constexpr std::uint64_t kNotifyOffset = 0x3000;
inline constexpr std::uint64_t kMsixTableOffset = 0x4000;
inline constexpr std::uint64_t kMsixPendingOffset = 0x5000;
inline constexpr std::uint64_t kNotifyMultiplier = 4;

// virtio 1.2 §4.1.4: cfg_type
enum class CfgType : std::uint8_t {
  kCommon = 1,
  kNotify = 2,
  kIsr = 3,
  kDevice = 4,
  kPci = 5,
};

// Offsets in struct virtio_pci_cap and in what follows it (§4.1.4, §4.1.4.9).
inline constexpr std::uint8_t kCapabilityVendor = 0x09;
inline constexpr std::size_t kCapBar = 4;
inline constexpr std::size_t kCapOffset = 8;
inline constexpr std::size_t kCapLength = 12;
inline constexpr std::size_t kCapData = 16;

PciIdentity identity(const VirtioDevice& device);

struct Structure {
  CfgType type = CfgType::kCommon;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// The body of a structure's capability, after its identifier and link.
class CapabilityBody {
 public:
  explicit CapabilityBody(const Structure& structure);
  std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }

 private:
  std::array<std::byte, 18> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace bulkhead::virtio_pci
