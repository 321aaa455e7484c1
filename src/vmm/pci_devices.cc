// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci_devices.h"

#include <fcntl.h>

#include <string>

#include "boot/layout.h"
#include "devices/pvpanic.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock.h"

namespace bulkhead {
namespace {

Result<Fd> duplicate(int number) {
  Fd copy(::fcntl(number, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return os_error("cannot duplicate a descriptor");
  return copy;
}

Bus::Range range_of(const boot::PciWindow& window) {
  return {window.base.value(), window.size_bytes};
}

}  // namespace

struct PciDevices::VirtioSlot {
  explicit VirtioSlot(GuestMemory& memory) : space(memory) {}

  DmaSpace space;
  std::unique_ptr<VirtioDevice> device;
  std::unique_ptr<VirtioPciFunction> function;
};

PciDevices::PciDevices(const Wiring& wiring)
    : wiring_(wiring),
      root_(wiring.mmio),
      pvpanic_(wiring.power, wiring.mmio),
      grant_device_(wiring.grants, wiring.mmio) {}

PciDevices::~PciDevices() = default;

Result<std::unique_ptr<PciDevices>> PciDevices::create(const LaunchSpec& spec,
                                                       const Wiring& wiring) {
  std::unique_ptr<PciDevices> devices(new PciDevices(wiring));
  TRY(devices->add_helpers(spec));
  TRY(devices->add_storage(spec));
  TRY(devices->add_network(spec));
  TRY(devices->add_memory());
  TRY(devices->root_.add(devices->pvpanic_));
  TRY(devices->root_.add(devices->grant_device_));
  TRY(devices->place());
  return devices;
}

template <class Create>
Result<void> PciDevices::add_virtio(Create&& create) {
  auto slot = std::make_unique<VirtioSlot>(wiring_.memory);
  slot->device = TRY(create(slot->space));
  slot->function = TRY(VirtioPciFunction::create(*slot->device, {.dma = slot->space,
                                                                 .loop = wiring_.loop,
                                                                 .msi = wiring_.irqs,
                                                                 .doorbells = wiring_.doorbells,
                                                                 .mmio = wiring_.mmio}));
  TRY(root_.add(*slot->function));
  slots_.push_back(std::move(slot));
  return {};
}

Result<void> PciDevices::add_storage(const LaunchSpec& spec) {
  for (std::size_t i = 0; i < spec.disks.size(); ++i) {
    const DiskSpec& disk = spec.disks[i];
    BlockOptions options{.file = TRY(duplicate(disk.fd)),
                         .read_only = disk.read_only,
                         .id = disk.serial.empty() ? "disk" + std::to_string(i) : disk.serial,
                         .queues = static_cast<std::uint16_t>(disk.queues),
                         .discard = disk.discard};
    TRY(add_virtio([&](DmaSpace& space) {
      return VirtioBlock::create(std::move(options), space, wiring_.loop);
    }));
  }
  return {};
}

Result<void> PciDevices::add_network(const LaunchSpec& spec) {
  using Kind = NetOptions::Backend;
  for (const NetSpec& net : spec.nets) {
    NetOptions options{.backend = net.kind == NetKind::kTap ? Kind::kTap : Kind::kStream,
                       .fd = TRY(duplicate(net.fd)),
                       .mac = net.mac,
                       .mtu = static_cast<std::uint16_t>(net.mtu)};
    TRY(add_virtio([&](DmaSpace& space) {
      return VirtioNet::create(std::move(options), space, wiring_.loop);
    }));
  }
  if (!spec.vsock.has_value()) return {};
  return add_virtio([&](DmaSpace& space) {
    return VirtioVsock::create({.guest_cid = spec.vsock->cid, .path = spec.vsock->socket_path},
                               space, wiring_.loop);
  });
}

Result<void> PciDevices::add_helpers(const LaunchSpec& spec) {
  TRY(add_virtio([&](DmaSpace& space) {
    return VirtioConsole::create(space, wiring_.loop, wiring_.console);
  }));
  if (spec.rng) {
    TRY(add_virtio([&](DmaSpace& space) { return VirtioRng::create(space, wiring_.loop); }));
  }
  if (!spec.balloon) return {};
  const std::uint64_t ram_pages = wiring_.memory.size_bytes() / kPageSize;
  return add_virtio(
      [&](DmaSpace& space) { return VirtioBalloon::create(space, wiring_.loop, ram_pages); });
}

Result<void> PciDevices::add_memory() {
  const RamLayout& layout = wiring_.memory.layout();
  if (layout.units == 0) return {};
  const VirtioMem::Region region{layout.growth_base, layout.growth_bytes()};
  return add_virtio([&](DmaSpace& space) -> Result<std::unique_ptr<VirtioMem>> {
    auto device = TRY(VirtioMem::create(region, space, wiring_.loop, wiring_.growth));
    memory_device_ = device.get();
    return device;
  });
}

Result<void> PciDevices::quiesce() {
  for (auto& slot : slots_) {
    MutexLock lock(slot->device->lock());
    TRY(slot->device->quiesce());
  }
  return {};
}

Result<void> PciDevices::resize(std::uint64_t memory_bytes) {
  const std::uint64_t boot = wiring_.memory.layout().boot_bytes;
  if (memory_device_ == nullptr) {
    return Error{Errc::kUnsupported, 0, "it was started without --max-memory"};
  }
  if (memory_bytes < boot) {
    return Error{Errc::kOutOfRange, 0, "it cannot have less than it was started with"};
  }
  return memory_device_->set_requested_size(memory_bytes - boot);
}

void PciDevices::describe_memory(PartitionStatus& status) {
  if (memory_device_ == nullptr) return;
  const std::uint64_t boot = wiring_.memory.layout().boot_bytes;
  const VirtioMem::Counters counters = memory_device_->counters();
  status.memory_bytes = boot + counters.plugged_bytes;
  status.target_bytes = boot + counters.requested_bytes;
}

Result<void> PciDevices::place() {
  TRY(root_.assign_resources({.mem32 = range_of(boot::kPciWindow32),
                              .mem64 = range_of(boot::pci_window64(wiring_.memory.layout()))}));
  return wiring_.mmio.add(range_of(boot::kPciEcam), root_.ecam());
}

}  // namespace bulkhead
