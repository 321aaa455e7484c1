// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

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
// ECAM and through configuration mechanism #1. What is absent reads as all ones.
class PciRoot : public Stateful {
 public:
  static constexpr std::uint64_t kEcamSize = 1 << 20;  // one bus
  static constexpr std::uint16_t kConfigPort = 0xcf8;
  static constexpr std::uint64_t kConfigPortCount = 8;
  static constexpr std::uint16_t kResetPort = 0xcf9;
  static constexpr std::size_t kSlots = 32;

  explicit PciRoot(Bus& mmio);

  // Puts a function into the next free slot, and returns its device number. Before the guest runs;
  // the function outlives the root's use.
  Result<std::uint8_t> add(PciFunction& function);
  // Gives every BAR an address, largest first, so that the guest keeps them. Memory decoding stays
  // off: the guest switches it on, and saves an off and an on when it probes the sizes.
  Result<void> assign_resources(const PciWindows& windows);

  // Register these: kEcamSize bytes of MMIO, and kConfigPortCount ports from kConfigPort.
  BusDevice& ecam() { return ecam_; }
  BusDevice& config_ports() { return ports_; }
  // Chipsets keep a reset register inside of the address port: a single byte at kResetPort is its.
  void set_reset_control(BusDevice& device) { reset_control_ = &device; }

  // All functions, in the order of their slots, and the address port.
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

  // PCI Local Bus 3.0 §3.2.2.3.2.
  class ConfigPorts : public BusDevice {
   public:
    explicit ConfigPorts(PciRoot& root) : root_(root) {}
    std::string_view name() const override { return "pci-config-ports"; }
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
  bool is_reset_control(std::uint64_t port_offset, std::size_t length) const {
    return reset_control_ != nullptr && length == 1 && port_offset == kResetPort - kConfigPort;
  }
  Target decode_port(std::uint64_t port_offset, std::size_t length) const;

  HostBridge bridge_;
  std::array<PciFunction*, kSlots> functions_{};
  BusDevice* reset_control_ = nullptr;
  // CONFIG_ADDRESS. The guest serialises its use; atomic only because two vCPUs may misuse it.
  std::atomic<std::uint32_t> address_ = 0;
  Ecam ecam_{*this};
  ConfigPorts ports_{*this};
};

}  // namespace bulkhead
