// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/mapping.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/pci/function.h"
#include "devices/state.h"

namespace bulkhead {

// Where BARs may lie. 64-bit BARs go to mem64, or to mem32 when mem64 is empty.
struct PciWindows {
  Bus::Range mem32;
  Bus::Range mem64;
};

// PCI bus 0: a host bridge at device 0 and up to 31 single functions behind it, reached through
// ECAM. What is absent reads as all ones.
class PciRoot : public Stateful {
 public:
  static constexpr std::uint64_t kEcamSize = 1 << 20;  // one bus
  static constexpr std::size_t kSlots = 32;

  explicit PciRoot(Bus& mmio);

  // Puts a function into the next free slot, and returns its device number. Before the guest runs;
  // the function outlives the root's use.
  Result<std::uint8_t> add(PciFunction& function);
  // Gives every BAR an address, largest first, so that the guest keeps them. Memory decoding stays
  // off: the guest switches it on, and saves an off and an on when it probes the sizes.
  Result<void> assign_resources(const PciWindows& windows);

  // Register this: kEcamSize bytes of MMIO.
  BusDevice& ecam() { return ecam_; }

  // A page of the ECAM that the guest may read where it lies; writes must come to ecam().
  struct ConfigPage {
    std::uint64_t ecam_offset = 0;
    Hva host;
  };
  // One for each function that is there now: Linux reads the registers of a function more than a
  // hundred times while it starts. The pages live as long as the root.
  Result<std::vector<ConfigPage>> show_config_pages();

  // All functions, in the order of their slots.
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  // PCI Express 4.0 §7.2.2: bus << 20 | device << 15 | function << 12 | register.
  class Ecam : public BusDevice {
   public:
    explicit Ecam(PciRoot& root) : root_(root) {}
    std::string_view name() const override { return "pci-ecam"; }
    void read(std::uint64_t offset, std::span<std::byte> bytes) override;
    void write(std::uint64_t offset, std::span<const std::byte> bytes) override;

   private:
    PciRoot& root_;
  };

  class HostBridge : public PciFunction {
   public:
    explicit HostBridge(Bus& mmio);
    std::string_view name() const override { return "pci-host-bridge"; }
    void save(StateWriter& writer) const override { save_registers(writer); }
    Result<void> restore(StateReader& reader) override { return restore_registers(reader); }
  };

  // A register access, or nothing when it is not 1, 2 or 4 bytes within one register of a function
  // that exists.
  struct Target {
    PciFunction* function = nullptr;
    std::uint64_t offset = 0;
  };
  Target decode(std::uint64_t ecam_offset, std::size_t length) const;
  HostBridge bridge_;
  std::array<PciFunction*, kSlots> functions_{};
  Mapping pages_;
  Ecam ecam_{*this};
};

}  // namespace bulkhead
