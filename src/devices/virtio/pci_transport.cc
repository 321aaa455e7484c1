// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_transport.h"

#include <algorithm>
#include <array>

#include "base/address.h"
#include "base/byte_reader.h"

namespace bulkhead {

using namespace virtio_pci;

namespace {

constexpr std::size_t kMaxQueues = 64;

constexpr std::uint8_t kIsrQueue = 1;
constexpr std::uint8_t kIsrConfig = 2;

VirtioCommonConfig::Options options(const VirtioDevice& device, const DmaSpace& dma) {
  // Behind an IOMMU, a driver that takes physical addresses for bus addresses cannot work.
  const std::uint64_t required =
      virtio::kFeatureVersion1 | (dma.translated() ? virtio::kFeatureAccessPlatform : 0);
  return {.offered_features = device.offered_features() | required | virtio::kFeatureIndirectDesc |
                              virtio::kFeatureEventIndex,
          .required_features = required,
          .queue_sizes = device.queue_sizes(),
          .vectors = static_cast<std::uint16_t>(device.queue_sizes().size() + 1)};
}

}  // namespace

Result<std::unique_ptr<VirtioPciFunction>> VirtioPciFunction::create(
    VirtioDevice& device, const VirtioPciWiring& wiring) {
  const std::size_t queues = device.queue_sizes().size();
  CHECK(queues <= kMaxQueues);
  auto msix = TRY(Msix::create(wiring.msi, static_cast<std::uint16_t>(queues + 1)));
  std::unique_ptr<VirtioPciFunction> function(
      new VirtioPciFunction(device, wiring, std::move(msix)));
  VirtioPciDoorbells::Listener& listener = *function;
  function->doorbells_ =
      TRY(VirtioPciDoorbells::create(queues, wiring.loop, wiring.doorbells, listener));
  return function;
}

VirtioPciFunction::VirtioPciFunction(VirtioDevice& device, const VirtioPciWiring& wiring,
                                     std::unique_ptr<Msix> msix)
    : PciFunction(virtio_pci::identity(device), wiring.mmio),
      device_(device),
      dma_(wiring.dma),
      msix_(std::move(msix)),
      common_(options(device, wiring.dma), *this),
      queues_(device.queue_sizes().size()) {
  add_bar({.index = kBar, .size = kBarSize, .is_64bit = true}, *this);
  MutexLock lock(config_lock_);
  add_capabilities();
}

VirtioPciFunction::~VirtioPciFunction() {
  MutexLock lock(device_.lock());
  deactivate();
}

std::uint8_t VirtioPciFunction::add_capability(const Structure& structure) {
  const CapabilityBody body(structure);
  return config().add_capability(kCapabilityVendor, body.bytes());
}

void VirtioPciFunction::add_capabilities() {
  msix_capability_ = config().add_capability(
      pci::kCapabilityMsix,
      msix_->capability({.bar = kBar, .table = kMsixTableOffset, .pending = kMsixPendingOffset}));
  config().set_writable<std::uint16_t>(msix_capability_ + 2u,
                                       pci::kMsixEnable | pci::kMsixFunctionMask);
  add_capability({CfgType::kCommon, kCommonOffset, VirtioCommonConfig::kSize});
  add_capability({CfgType::kIsr, kIsrOffset, 1});
  add_capability({CfgType::kDevice, kDeviceOffset, kPageSize});
  add_capability({CfgType::kNotify, kNotifyOffset, kNotifyMultiplier * common_.queue_count()});
  window_capability_ = add_capability({CfgType::kPci, 0, 0});
  config().set_writable<std::uint8_t>(window_capability_ + kCapBar, 0xff);
  for (const std::size_t field : {kCapOffset, kCapLength, kCapData}) {
    config().set_writable<std::uint32_t>(window_capability_ + field, 0xffffffff);
  }
}

void VirtioPciFunction::bar_moved(std::size_t, std::optional<Gpa> base) {
  MutexLock lock(device_.lock());
  bar_base_ = base;
  place_doorbells();
}

void VirtioPciFunction::registers_changed() {
  const auto control = config().get<std::uint16_t>(msix_capability_ + 2u);
  // A function that is no bus master cannot send messages: they stay pending.
  msix_->set_control({.enabled = (control & pci::kMsixEnable) != 0,
                      .masked = (control & pci::kMsixFunctionMask) != 0 || !bus_master()});
  if (bus_master() == was_master_) return;
  was_master_ = bus_master();
  // What was asked for while it could not reach memory is still to be done.
  MutexLock lock(device_.lock());
  if (active_ && was_master_) doorbells_->ring_all();
}

bool VirtioPciFunction::touches_window(const Access& access) const {
  const std::uint64_t data = window_capability_ + kCapData;
  return access.offset < data + 4 && access.offset + access.size > data;
}

// §4.1.4.9.1: an access of 1, 2 or 4 bytes, aligned, within the BAR.
VirtioPciFunction::Window VirtioPciFunction::window() {
  const auto bar = config().get<std::uint8_t>(window_capability_ + kCapBar);
  const auto offset = config().get<std::uint32_t>(window_capability_ + kCapOffset);
  const auto length = config().get<std::uint32_t>(window_capability_ + kCapLength);
  const bool sensible = bar == kBar && (length == 1 || length == 2 || length == 4) &&
                        offset % length == 0 && range_fits(offset, length, kBarSize);
  return sensible ? Window{offset, length} : Window{};
}

void VirtioPciFunction::before_config_read(const Access& access) {
  if (!touches_window(access)) return;
  const Window wanted = window();
  if (wanted.length == 0) return;
  std::array<std::byte, 4> bytes{};
  read(wanted.offset, std::span(bytes).first(wanted.length));
  config().set<std::uint32_t>(window_capability_ + kCapData, get_le<std::uint32_t>(bytes, 0));
}

void VirtioPciFunction::after_config_write(const Access& access) {
  const std::uint64_t data = window_capability_ + kCapData;
  // The window moved: what it shows must be in place before the driver looks at it, since a driver
  // that reads its registers from a page (PciFunction::show_in) does not tell us.
  if (access.offset < data && access.offset + access.size > window_capability_) {
    before_config_read({data, sizeof(std::uint32_t)});
  }
  if (!touches_window(access)) return;
  const Window wanted = window();
  if (wanted.length == 0) return;
  std::array<std::byte, 4> bytes{};
  put_le<std::uint32_t>(bytes, 0, config().get<std::uint32_t>(window_capability_ + kCapData));
  write(wanted.offset, std::span(bytes).first(wanted.length));
}

void VirtioPciFunction::read(std::uint64_t offset, std::span<std::byte> bytes) {
  const std::uint64_t inside = offset % kPageSize;
  switch (align_down(offset, kPageSize)) {
    case kCommonOffset: {
      MutexLock lock(device_.lock());
      return common_.read(inside, bytes);
    }
    case kDeviceOffset: {
      MutexLock lock(device_.lock());
      return device_.read_config(inside, bytes);
    }
    case kMsixTableOffset:
      return msix_->read_table(inside, bytes);
    case kMsixPendingOffset:
      return msix_->read_pending(inside, bytes);
    default:
      std::ranges::fill(bytes, std::byte{0});
      // §4.1.4.5: reading clears it.
      if (offset == kIsrOffset) bytes[0] = std::byte{isr_.exchange(0)};
  }
}

void VirtioPciFunction::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint64_t inside = offset % kPageSize;
  switch (align_down(offset, kPageSize)) {
    case kCommonOffset: {
      MutexLock lock(device_.lock());
      return common_.write(inside, bytes);
    }
    case kDeviceOffset: {
      MutexLock lock(device_.lock());
      return device_.write_config(inside, bytes);
    }
    case kNotifyOffset:
      // §4.1.5.2: the address tells the queue, so the value (its index) is not needed.
      return notify(inside / kNotifyMultiplier);
    case kMsixTableOffset:
      return msix_->write_table(inside, bytes);
    default:
      return;
  }
}

void VirtioPciFunction::notify(std::uint64_t queue) {
  if (queue < queues_.size() && device_.served_at_exit(static_cast<std::uint16_t>(queue))) {
    on_doorbell(static_cast<std::uint16_t>(queue));
  } else {
    doorbells_->ring(queue);
  }
}

void VirtioPciFunction::queue_used(std::uint16_t queue_index) {
  // §4.1.4.5.1: the queue's ISR bit is for drivers without MSI-X.
  if (!msix_->trigger(common_.queue_vector(queue_index))) isr_.fetch_or(kIsrQueue);
}

void VirtioPciFunction::config_changed() {
  common_.config_changed();
  config_interrupt();
}

// virtio 1.2 §2.1.2
void VirtioPciFunction::needs_reset() {
  common_.set_needs_reset();
  if ((common_.status() & virtio::kStatusDriverOk) != 0) config_interrupt();
}

void VirtioPciFunction::config_interrupt() {
  isr_.fetch_or(kIsrConfig);
  msix_->trigger(common_.config_vector());
}

Result<void> VirtioPciFunction::create_queues() {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!common_.queue_enabled(i)) continue;
    queues_[i] = TRY(VirtQueue::create(dma_, common_.queue_layout(i), common_.features()));
  }
  return {};
}

Result<void> VirtioPciFunction::activate() {
  TRY(device_.activate({common_.features(), queues_, *this}));
  active_ = true;
  place_doorbells();
  return {};
}

void VirtioPciFunction::deactivate() {
  if (active_) {
    active_ = false;
    place_doorbells();
    device_.reset();
  }
  std::ranges::fill(queues_, VirtQueue());
}

void VirtioPciFunction::place_doorbells() {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const bool wanted = active_ && queues_[i].enabled() && bar_base_ &&
                        !device_.served_at_exit(static_cast<std::uint16_t>(i));
    doorbells_->place(i, wanted ? std::optional(*bar_base_ + kNotifyOffset + i * kNotifyMultiplier)
                                : std::nullopt);
  }
}

void VirtioPciFunction::driver_ok() {
  const Result<void> done = create_queues().and_then([this] { return activate(); });
  if (done) return;
  if (log_limit_.allow()) {
    log_warning("virtio_device_not_activated", {{"device", name()}, {"error", done.error().what}});
  }
  needs_reset();
}

void VirtioPciFunction::driver_reset() {
  deactivate();
  isr_.store(0);
}

void VirtioPciFunction::on_doorbell(std::uint16_t queue_index) {
  MutexLock lock(device_.lock());
  if (!active_ || !common_.running() || !bus_master() || !queues_[queue_index].enabled()) return;
  const Result<void> done = device_.process_queue(queue_index);
  if (done) return;
  if (log_limit_.allow()) {
    log_warning("virtio_driver_error",
                {{"device", name()}, {"queue", queue_index}, {"error", done.error().what}});
  }
  needs_reset();
}

void VirtioPciFunction::save(StateWriter& writer) const {
  writer.put(std::uint8_t{1});  // version
  save_registers(writer);
  MutexLock lock(device_.lock());
  msix_->save(writer);
  common_.save(writer);
  writer.put(isr_.load());
  device_.save(writer);
  const bool running = active_ && common_.running();
  writer.put(static_cast<std::uint8_t>(running));
  for (const VirtQueue& queue : queues_) {
    if (running && queue.enabled()) queue.save(writer);
  }
}

Result<void> VirtioPciFunction::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint8_t>()) != 1) {
    return Error{Errc::kUnsupported, 0, "a saved virtio device of an unknown version"};
  }
  TRY(restore_registers(reader));
  MutexLock lock(device_.lock());
  deactivate();
  TRY(msix_->restore(reader));
  TRY(common_.restore(reader));
  isr_.store(TRY(reader.get<std::uint8_t>()) & (kIsrQueue | kIsrConfig));
  TRY(device_.restore(reader));
  const bool running = TRY(reader.get<std::uint8_t>()) != 0;
  if (!running) return {};
  if (!common_.running()) return Error{Errc::kMalformed, 0, "a saved device runs without driver"};
  return restore_running(reader);
}

Result<void> VirtioPciFunction::restore_running(StateReader& reader) {
  TRY(create_queues());
  for (VirtQueue& queue : queues_) {
    if (queue.enabled()) TRY(queue.restore(reader));
  }
  TRY(activate());
  // Doorbells that had not been answered are not saved.
  doorbells_->ring_all();
  return {};
}

}  // namespace bulkhead
