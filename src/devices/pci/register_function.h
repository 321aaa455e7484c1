// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "devices/pci/function.h"

namespace bulkhead {

// A function that is nothing but one 32-bit memory BAR with registers, such as pvpanic.
class PciRegisterFunction final : public PciFunction {
 public:
  // `bar_size` is a power of two, at least 16. The device outlives the function.
  PciRegisterFunction(const PciIdentity& identity, Bus& mmio, BusDevice& device,
                      std::uint64_t bar_size)
      : PciFunction(identity, mmio), device_(device) {
    add_bar({.index = 0, .size = bar_size, .is_64bit = false}, device);
  }

  std::string_view name() const override { return device_.name(); }
  // Of the function; the registers' state is their device's.
  void save(StateWriter& writer) const override { save_registers(writer); }
  Result<void> restore(StateReader& reader) override { return restore_registers(reader); }

 private:
  BusDevice& device_;
};

}  // namespace bulkhead
