// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/address.h"
#include "base/log.h"
#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/pci/config_space.h"
#include "devices/state.h"

namespace bulkhead {

// One PCI function: its configuration space, and its memory BARs on the MMIO bus. I/O BARs, ROMs
// and interrupt pins are not provided.
//
// Registers are accessed on vCPU threads. Order of locks: config_lock_, then what a derived class
// takes in its hooks. So nobody who holds such a lock may call into configuration space.
class PciFunction : public Stateful {
 public:
  static constexpr std::size_t kBars = 6;

  PciFunction(const PciIdentity& identity, Bus& mmio) : mmio_(mmio), config_(identity) {}
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;
  ~PciFunction() override { unmap_bars(); }

  virtual std::string_view name() const = 0;

  // Any offset and length; what is not there reads as all ones.
  void read_config(std::uint64_t offset, std::span<std::byte> bytes);
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes);

  struct BarInfo {
    std::uint64_t size = 0;  // 0: no such BAR
    bool is_64bit = false;
  };
  BarInfo bar(std::size_t index) const { return {bars_[index].size, bars_[index].is_64bit}; }
  // Puts a BAR at an address, as firmware does at start.
  void assign_bar(std::size_t index, Gpa base);

  // Shows the registers in a page of kConfigPageBytes that the guest reads without an exit. The
  // page follows every change, and outlives the function.
  static constexpr std::size_t kConfigPageBytes = 4096;
  void show_in(std::span<std::byte> page);

  // Whether the guest lets the function access memory and send interrupts.
  bool bus_master() const { return bus_master_.load(std::memory_order_acquire); }

 protected:
  struct BarSpec {
    std::size_t index = 0;   // a 64-bit BAR takes the next one, too
    std::uint64_t size = 0;  // a power of two, at least 16
    bool is_64bit = false;
  };
  // While the function is set up. The device gets the accesses, with offsets from the BAR's start.
  void add_bar(const BarSpec& spec, BusDevice& device);

  // For the derived class's save() and restore().
  void save_registers(StateWriter& writer) const;
  Result<void> restore_registers(StateReader& reader);

  // Hooks for the derived class.
  // A BAR appeared at an address, or went away.
  virtual void bar_moved(std::size_t /*index*/, std::optional<Gpa> /*base*/)
      REQUIRES(config_lock_) {}
  // The registers changed, whoever did it. After bar_moved().
  virtual void registers_changed() REQUIRES(config_lock_) {}
  // Before the guest reads a range of the configuration, and after it wrote one.
  struct Access {
    std::uint64_t offset = 0;
    std::size_t size = 0;
  };
  virtual void before_config_read(const Access&) REQUIRES(config_lock_) {}
  virtual void after_config_write(const Access&) REQUIRES(config_lock_) {}

  PciConfigSpace& config() REQUIRES(config_lock_) { return config_; }

  mutable Mutex config_lock_;

 private:
  struct Bar {
    std::uint64_t size = 0;
    bool is_64bit = false;
    BusDevice* device = nullptr;
    std::optional<Gpa> mapped;
  };

  void unmap_bars();
  std::optional<Gpa> wanted_base(std::size_t index) const REQUIRES(config_lock_);
  // Makes the bus, bus_master_ and the derived class agree with the registers.
  void apply_registers() REQUIRES(config_lock_);
  void move_bar(std::size_t index, std::optional<Gpa> base) REQUIRES(config_lock_);
  void publish() REQUIRES(config_lock_);

  Bus& mmio_;
  PciConfigSpace config_ GUARDED_BY(config_lock_);
  std::span<std::byte> page_ GUARDED_BY(config_lock_);  // empty: reads come as accesses
  std::array<Bar, kBars> bars_;  // `mapped` with config_lock_; the rest is fixed after set-up
  std::atomic<bool> bus_master_ = false;
  LogLimiter log_limit_;
};

}  // namespace bulkhead
