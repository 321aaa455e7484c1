// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_layout.h"

#include "base/byte_reader.h"

namespace bulkhead::virtio_pci {
namespace {

// PCI Code and ID Assignment 1.11 §1: what fits the device; "unclassified" where nothing does.
constexpr std::uint32_t class_code(std::uint32_t virtio_device_id) {
  switch (virtio_device_id) {
    case 1:
      return 0x020000;  // network, Ethernet
    case 2:
      return 0x018000;  // mass storage, other
    case 3:
      return 0x078000;  // communication, other
    default:
      return 0x00ff00;
  }
}

}  // namespace

// virtio 1.2 §4.1.2
PciIdentity identity(const VirtioDevice& device) {
  const auto id = static_cast<std::uint16_t>(0x1040 + device.device_id());
  return {.vendor = 0x1af4,
          .device = id,
          .subsystem_vendor = 0x1af4,
          .subsystem = id,
          .class_code = class_code(device.device_id()),
          .revision = 1};
}

// struct virtio_pci_cap from its third byte, cap_len; for two types 32 bits more (§4.1.4.4,
// §4.1.4.9).
CapabilityBody::CapabilityBody(const Structure& structure) {
  constexpr std::size_t kSkipped = 2;
  const bool notify = structure.type == CfgType::kNotify;
  const bool extended = notify || structure.type == CfgType::kPci;
  const std::size_t length = kCapData + (extended ? 4 : 0);
  size_ = length - kSkipped;
  put_le<std::uint8_t>(bytes_, 0, static_cast<std::uint8_t>(length));
  put_le<std::uint8_t>(bytes_, 1, static_cast<std::uint8_t>(structure.type));
  put_le<std::uint8_t>(bytes_, kCapBar - kSkipped, kBar);
  put_le<std::uint32_t>(bytes_, kCapOffset - kSkipped,
                        static_cast<std::uint32_t>(structure.offset));
  put_le<std::uint32_t>(bytes_, kCapLength - kSkipped,
                        static_cast<std::uint32_t>(structure.length));
  if (notify) put_le<std::uint32_t>(bytes_, kCapData - kSkipped, kNotifyMultiplier);
}

}  // namespace bulkhead::virtio_pci
