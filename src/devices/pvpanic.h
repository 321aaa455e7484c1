// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "devices/bus.h"
#include "devices/pci/function.h"
#include "devices/power_events.h"

namespace bulkhead {

// The register of a pvpanic device (QEMU, docs/specs/pvpanic.rst): one byte by which the guest's
// kernel says that it panicked. Reads answer which events are known.
class PvpanicRegister final : public BusDevice {
 public:
  static constexpr std::uint8_t kPanicked = 1U << 0;
  static constexpr std::uint8_t kCrashLoaded = 1U << 1;

  explicit PvpanicRegister(PowerEvents& events) : events_(events) {}

  std::string_view name() const override { return "pvpanic"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override;

 private:
  PowerEvents& events_;
};

// The PCI function around it: the register is the first byte of BAR 0, which has a page to itself.
class Pvpanic final : public PciFunction {
 public:
  static constexpr std::size_t kBar = 0;

  Pvpanic(PowerEvents& events, Bus& mmio);

  std::string_view name() const override;

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  PvpanicRegister register_;
};

}  // namespace bulkhead
