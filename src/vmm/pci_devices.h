// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "devices/bus.h"
#include "devices/console_backend.h"
#include "devices/grant_device.h"
#include "devices/grant_keeper.h"
#include "devices/interrupts.h"
#include "devices/pci/root.h"
#include "devices/power_events.h"
#include "devices/pvpanic.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/device.h"
#include "devices/virtio/memory.h"
#include "devices/virtio/pci_transport.h"
#include "mem/dma_space.h"
#include "vmm/control_server.h"
#include "vmm/launch_spec.h"

namespace bulkhead {

// The PCI bus of a partition with everything that its specification asks for. Each device gets a
// DmaSpace of its own: nothing else leads it to memory.
class PciDevices {
 public:
  struct Wiring {
    GuestMemory& memory;
    EventLoop& loop;
    MsiController& irqs;
    DoorbellController& doorbells;
    Bus& mmio;
    ConsoleBackend& console;
    PowerEvents& power;
    MemoryResizer& growth;
    GrantKeeper& grants;
  };

  // Duplicates the descriptors of the specification, so that a later start finds them open.
  static Result<std::unique_ptr<PciDevices>> create(const LaunchSpec& spec, const Wiring& wiring);
  ~PciDevices();

  // See PciRoot::show_config_pages().
  Result<std::vector<PciRoot::ConfigPage>> show_config_pages() { return root_.show_config_pages(); }

  // Completes the requests that devices work on, on the event loop's thread. With the vCPUs paused
  // and the loop not served, none begins after that.
  Result<void> quiesce();

  // Asks the guest for so much memory, boot RAM included: that and whole blocks of 2 MiB.
  Result<void> resize(std::uint64_t memory_bytes);
  // What the guest has, and was asked to have.
  void describe_memory(PartitionStatus& status);

 private:
  struct VirtioSlot;

  explicit PciDevices(const Wiring& wiring);
  Result<void> add_storage(const LaunchSpec& spec);
  Result<void> add_network(const LaunchSpec& spec);
  Result<void> add_helpers(const LaunchSpec& spec);
  Result<void> add_memory();
  Result<void> place();
  // `create` makes a device from its DmaSpace.
  template <class Create>
  Result<void> add_virtio(Create&& create);

  const Wiring wiring_;
  PciRoot root_;
  Pvpanic pvpanic_;
  GrantDevice grant_device_;
  VirtioMem* memory_device_ = nullptr;  // one of slots_; null: memory cannot grow
  std::vector<std::unique_ptr<VirtioSlot>> slots_;
};

}  // namespace bulkhead
