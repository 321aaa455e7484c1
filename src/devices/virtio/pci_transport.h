// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "devices/bus.h"
#include "devices/interrupts.h"
#include "devices/pci/function.h"
#include "devices/pci/msix.h"
#include "devices/virtio/common_config.h"
#include "devices/virtio/device.h"
#include "devices/virtio/pci_doorbells.h"
#include "devices/virtio/pci_layout.h"
#include "mem/dma_space.h"

namespace bulkhead {

// What a virtio PCI function is wired to. All of it outlives the function.
struct VirtioPciWiring {
  DmaSpace& dma;  // the device's own
  EventLoop& loop;
  MsiController& msi;
  DoorbellController& doorbells;
  Bus& mmio;
};

// A virtio device as a PCI function (virtio 1.2 §4.1), without the legacy interface. All
// structures lie in BAR 0, each in a page of its own. Interrupts are MSI-X only.
//
// Order of locks: PciFunction::config_lock_, VirtioDevice::lock(), Msix. A doorbell's write takes
// none of them (the second, where the device serves it at the exit), and the methods of
// VirtioInterrupts only the last.
class VirtioPciFunction final : public PciFunction,
                                private BusDevice,
                                private VirtioInterrupts,
                                private VirtioCommonConfig::Owner,
                                private VirtioPciDoorbells::Listener {
 public:
  // The device outlives the function. On the event loop's thread, or before it runs.
  static Result<std::unique_ptr<VirtioPciFunction>> create(VirtioDevice& device,
                                                           const VirtioPciWiring& wiring);
  // On the event loop's thread, or when it no longer runs.
  ~VirtioPciFunction() override;

  std::string_view name() const override { return device_.name(); }

  // Of the whole function, the device included. restore() brings the device's state back first,
  // then activates it, and rings all doorbells: what the driver asked for meanwhile is found.
  // After an error the partition cannot run.
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  VirtioPciFunction(VirtioDevice& device, const VirtioPciWiring& wiring,
                    std::unique_ptr<Msix> msix);
  void add_capabilities() REQUIRES(config_lock_);
  std::uint8_t add_capability(const virtio_pci::Structure& structure) REQUIRES(config_lock_);

  // PciFunction, with config_lock_.
  void bar_moved(std::size_t index, std::optional<Gpa> base) override REQUIRES(config_lock_);
  void registers_changed() override REQUIRES(config_lock_);
  void before_config_read(const Access& access) override REQUIRES(config_lock_);
  void after_config_write(const Access& access) override REQUIRES(config_lock_);

  // BusDevice: the BAR.
  void read(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  // A doorbell that KVM did not answer.
  void notify(std::uint64_t queue);

  // VirtioInterrupts: for the device, which may hold its lock.
  void queue_used(std::uint16_t queue_index) override;
  void config_changed() override;
  void needs_reset() override;

  // VirtioCommonConfig::Owner, with the device's lock.
  void driver_ok() override;
  void driver_reset() override;

  // VirtioPciDoorbells::Listener
  void on_doorbell(std::uint16_t queue_index) override;

  // The window of §4.1.4.9: an access to the BAR by way of configuration space.
  struct Window {
    std::uint64_t offset = 0;
    std::uint32_t length = 0;  // 0: what the driver asks for makes no sense
  };
  Window window() REQUIRES(config_lock_);
  bool touches_window(const Access& access) const;

  // These need the device's lock.
  Result<void> create_queues();
  Result<void> activate();
  Result<void> restore_running(StateReader& reader);
  void deactivate();
  void place_doorbells();
  void config_interrupt();

  VirtioDevice& device_;
  DmaSpace& dma_;
  std::unique_ptr<Msix> msix_;
  VirtioCommonConfig common_;
  std::atomic<std::uint8_t> isr_ = 0;  // virtio 1.2 §4.1.4.5

  // With the device's lock.
  std::vector<VirtQueue> queues_;
  bool active_ = false;
  std::optional<Gpa> bar_base_;

  std::uint8_t msix_capability_ = 0;  // offsets in configuration space, fixed after set-up
  std::uint8_t window_capability_ = 0;
  bool was_master_ GUARDED_BY(config_lock_) = false;
  LogLimiter log_limit_;
  std::unique_ptr<VirtioPciDoorbells> doorbells_;  // last: goes first, and with it all callbacks
};

}  // namespace bulkhead
