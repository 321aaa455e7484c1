// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/config_space.h"

#include <algorithm>

#include "base/address.h"
#include "base/check.h"

namespace bulkhead {

PciConfigSpace::PciConfigSpace(const PciIdentity& identity) {
  set<std::uint16_t>(pci::kVendorId, identity.vendor);
  set<std::uint16_t>(pci::kDeviceId, identity.device);
  set<std::uint32_t>(pci::kRevisionId, identity.class_code << 8 | identity.revision);
  set<std::uint16_t>(pci::kSubsystemVendorId, identity.subsystem_vendor);
  set<std::uint16_t>(pci::kSubsystemId, identity.subsystem);
  set_writable<std::uint16_t>(
      pci::kCommand, pci::kCommandMemory | pci::kCommandBusMaster | pci::kCommandIntxDisable);
  // A scratch register: nothing here has an interrupt pin, yet operating systems note a line.
  set_writable<std::uint8_t>(pci::kInterruptLine, 0xff);
}

std::uint8_t PciConfigSpace::add_capability(std::uint8_t id, std::span<const std::byte> body) {
  const std::size_t offset = free_;
  CHECK(range_fits(offset, 2 + body.size(), kSize));
  set<std::uint8_t>(last_link_, static_cast<std::uint8_t>(offset));
  set<std::uint8_t>(offset, id);
  std::ranges::copy(body, bytes_.begin() + static_cast<std::ptrdiff_t>(offset) + 2);
  set<std::uint16_t>(pci::kStatus, get<std::uint16_t>(pci::kStatus) | pci::kStatusCapabilities);
  last_link_ = offset + 1;
  free_ = align_up(offset + 2 + body.size(), 4);
  return static_cast<std::uint8_t>(offset);
}

void PciConfigSpace::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  if (!range_fits(offset, bytes.size(), kSize)) {
    std::ranges::fill(bytes, std::byte{0xff});
    return;
  }
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), bytes.size(), bytes.begin());
}

void PciConfigSpace::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!range_fits(offset, bytes.size(), kSize)) return;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::byte mask = writable_[offset + i];
    bytes_[offset + i] = (bytes_[offset + i] & ~mask) | (bytes[i] & mask);
  }
}

void PciConfigSpace::save(StateWriter& writer) const {
  writer.put_bytes(bytes_);
}

Result<void> PciConfigSpace::restore(StateReader& reader) {
  std::array<std::byte, kSize> saved;
  TRY(reader.get_bytes(saved));
  for (std::size_t i = 0; i < kSize; ++i) {
    if ((saved[i] & ~writable_[i]) != (bytes_[i] & ~writable_[i])) {
      return Error{Errc::kMalformed, 0, "a saved PCI function is not the one at its place"};
    }
  }
  bytes_ = saved;
  return {};
}

}  // namespace bulkhead
