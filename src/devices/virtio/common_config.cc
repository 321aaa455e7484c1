// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/common_config.h"

#include <algorithm>
#include <bit>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

// struct virtio_pci_common_cfg: virtio 1.2 §4.1.4.3
constexpr std::uint64_t kDeviceFeatureSelect = 0x00;
constexpr std::uint64_t kDeviceFeature = 0x04;
constexpr std::uint64_t kDriverFeatureSelect = 0x08;
constexpr std::uint64_t kDriverFeature = 0x0c;
constexpr std::uint64_t kConfigVector = 0x10;
constexpr std::uint64_t kNumQueues = 0x12;
constexpr std::uint64_t kDeviceStatus = 0x14;
constexpr std::uint64_t kConfigGeneration = 0x15;
constexpr std::uint64_t kQueueSelect = 0x16;
constexpr std::uint64_t kQueueSize = 0x18;
constexpr std::uint64_t kQueueVector = 0x1a;
constexpr std::uint64_t kQueueEnable = 0x1c;
constexpr std::uint64_t kQueueNotifyOffset = 0x1e;
constexpr std::uint64_t kQueueAreas = 0x20;  // three of 64 bits
constexpr std::uint64_t kQueueAreasEnd = 0x38;
// queue_notify_data and queue_reset follow: features that are not offered.

constexpr std::uint8_t kDriverStatusBits = virtio::kStatusAcknowledge | virtio::kStatusDriver |
                                           virtio::kStatusDriverOk | virtio::kStatusFeaturesOk |
                                           virtio::kStatusFailed;

// The width of the field at an offset; 0 when none starts there. §4.1.3.1: a driver uses it, and
// halves for 64-bit fields.
constexpr std::size_t field_width(std::uint64_t offset) {
  if (offset < kConfigVector) return offset % 4 == 0 ? 4 : 0;
  if (offset == kDeviceStatus || offset == kConfigGeneration) return 1;
  if (offset < kQueueAreas) return offset % 2 == 0 ? 2 : 0;
  if (offset < kQueueAreasEnd) return offset % 4 == 0 ? 4 : 0;
  return 0;
}

// 32 of 64 bits; none beyond.
constexpr std::uint32_t select_half(std::uint64_t value, std::uint32_t half) {
  return half < 2 ? static_cast<std::uint32_t>(value >> (32 * half)) : 0;
}
constexpr std::uint64_t replace_half(std::uint64_t value, std::uint32_t half,
                                     std::uint32_t replacement) {
  const unsigned shift = 32 * half;
  return (value & ~(std::uint64_t{0xffffffff} << shift)) | std::uint64_t{replacement} << shift;
}

Error contradiction() {
  return Error{Errc::kMalformed, 0, "a saved virtio device contradicts this one"};
}

}  // namespace

VirtioCommonConfig::VirtioCommonConfig(const Options& options, Owner& owner)
    : offered_features_(options.offered_features),
      required_features_(options.required_features),
      vectors_(options.vectors),
      owner_(owner),
      queues_(options.queue_sizes.size()) {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    queues_[i].maximum = options.queue_sizes[i];
    queues_[i].size = options.queue_sizes[i];
  }
}

bool VirtioCommonConfig::running() const {
  const std::uint8_t both = virtio::kStatusDriverOk | virtio::kStatusNeedsReset;
  return (status() & both) == virtio::kStatusDriverOk;
}

std::uint16_t VirtioCommonConfig::queue_vector(std::size_t index) const {
  if (index >= queues_.size()) return kNoVector;
  return queues_[index].vector.load(std::memory_order_acquire);
}

VirtQueue::Layout VirtioCommonConfig::queue_layout(std::size_t index) const {
  const Queue& queue = queues_[index];
  return {queue.size, DmaAddr(queue.areas[0]), DmaAddr(queue.areas[1]), DmaAddr(queue.areas[2])};
}

const VirtioCommonConfig::Queue* VirtioCommonConfig::selected() const {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

void VirtioCommonConfig::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  std::ranges::fill(bytes, std::byte{0});
  if (bytes.size() == 8 && offset >= kQueueAreas) {
    read(offset, bytes.first(4));
    read(offset + 4, bytes.last(4));
  } else if (!bytes.empty() && bytes.size() == field_width(offset)) {
    const std::uint32_t value = read_field(offset);
    std::copy_n(std::as_bytes(std::span(&value, 1)).begin(), bytes.size(), bytes.begin());
  }
}

void VirtioCommonConfig::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (bytes.size() == 8 && offset >= kQueueAreas) {
    write(offset, bytes.first(4));
    write(offset + 4, bytes.last(4));
  } else if (!bytes.empty() && bytes.size() == field_width(offset)) {
    std::uint32_t value = 0;
    std::ranges::copy(bytes, std::as_writable_bytes(std::span(&value, 1)).begin());
    write_field(offset, value);
  }
}

std::uint32_t VirtioCommonConfig::read_field(std::uint64_t offset) const {
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return select_half(offered_features_, device_feature_select_);
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return select_half(driver_features_, driver_feature_select_);
    case kConfigVector:
      return config_vector();
    case kNumQueues:
      return static_cast<std::uint32_t>(queues_.size());
    case kDeviceStatus:
      return status();
    case kConfigGeneration:
      return generation_.load();
    case kQueueSelect:
      return queue_select_;
    default: {
      // §4.1.4.3.1: queue_size 0 says that there is no such queue.
      const Queue* queue = selected();
      return queue == nullptr ? 0 : read_queue_field(*queue, offset);
    }
  }
}

std::uint32_t VirtioCommonConfig::read_queue_field(const Queue& queue, std::uint64_t offset) const {
  switch (offset) {
    case kQueueSize:
      return queue.size;
    case kQueueVector:
      return queue.vector.load();
    case kQueueEnable:
      return queue.enabled ? 1 : 0;
    case kQueueNotifyOffset:
      return queue_select_;  // a doorbell per queue
    default: {
      const std::uint64_t half = (offset - kQueueAreas) / 4;
      return select_half(queue.areas[half / 2], static_cast<std::uint32_t>(half % 2));
    }
  }
}

void VirtioCommonConfig::write_field(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kDeviceFeatureSelect:
      device_feature_select_ = value;
      return;
    case kDriverFeatureSelect:
      driver_feature_select_ = value;
      return;
    case kDriverFeature:
      return write_driver_feature(value);
    case kConfigVector:
      config_vector_.store(valid_vector(value));
      return;
    case kDeviceStatus:
      return write_status(static_cast<std::uint8_t>(value));
    case kQueueSelect:
      queue_select_ = static_cast<std::uint16_t>(value);
      return;
    case kDeviceFeature:
    case kNumQueues:
    case kConfigGeneration:
      return;
    default:
      if (queue_select_ < queues_.size()) write_queue_field(queues_[queue_select_], offset, value);
  }
}

// §4.1.4.3.2: a queue's registers are fixed once it is enabled, and no queue appears after
// DRIVER_OK. Only its vector may change.
void VirtioCommonConfig::write_queue_field(Queue& queue, std::uint64_t offset,
                                           std::uint32_t value) {
  if (offset == kQueueVector) {
    queue.vector.store(valid_vector(value));
    return;
  }
  if (queue.enabled || (status() & virtio::kStatusDriverOk) != 0) return;
  switch (offset) {
    case kQueueSize:
      if (value <= queue.maximum && std::has_single_bit(value)) {
        queue.size = static_cast<std::uint16_t>(value);
      }
      return;
    case kQueueEnable:
      queue.enabled = value == 1;
      return;
    case kQueueNotifyOffset:
      return;
    default: {
      const std::uint64_t half = (offset - kQueueAreas) / 4;
      std::uint64_t& area = queue.areas[half / 2];
      area = replace_half(area, static_cast<std::uint32_t>(half % 2), value);
    }
  }
}

// §3.1.1: features are settled with FEATURES_OK.
void VirtioCommonConfig::write_driver_feature(std::uint32_t value) {
  if ((status() & virtio::kStatusFeaturesOk) != 0 || driver_feature_select_ >= 2) return;
  driver_features_ = replace_half(driver_features_, driver_feature_select_, value);
}

// §4.1.5.1.2.1: a vector that does not exist reads back as NO_VECTOR.
std::uint16_t VirtioCommonConfig::valid_vector(std::uint32_t value) const {
  return value < vectors_ ? static_cast<std::uint16_t>(value) : kNoVector;
}

bool VirtioCommonConfig::acceptable(std::uint64_t features) const {
  return (features & ~offered_features_) == 0 &&
         (features & required_features_) == required_features_;
}

// §2.1 and §3.1.1. A driver only ever adds bits, or resets by writing 0.
void VirtioCommonConfig::write_status(std::uint8_t value) {
  if (value == 0) {
    owner_.driver_reset();
    return reset();
  }
  const std::uint8_t before = status();
  auto added = static_cast<std::uint8_t>(value & kDriverStatusBits & ~before);
  if ((added & virtio::kStatusFeaturesOk) != 0 && !acceptable(driver_features_)) {
    added &= static_cast<std::uint8_t>(~virtio::kStatusFeaturesOk);
  }
  // Without features there is no driving: DRIVER_OK does not stick (§3.1.1, step 6).
  if (((before | added) & virtio::kStatusFeaturesOk) == 0) {
    added &= static_cast<std::uint8_t>(~virtio::kStatusDriverOk);
  }
  status_.fetch_or(added);
  if ((added & virtio::kStatusDriverOk) != 0) owner_.driver_ok();
}

void VirtioCommonConfig::reset() {
  device_feature_select_ = 0;
  driver_feature_select_ = 0;
  driver_features_ = 0;
  queue_select_ = 0;
  config_vector_.store(kNoVector);
  for (Queue& queue : queues_) {
    queue.size = queue.maximum;
    queue.enabled = false;
    std::ranges::fill(queue.areas, 0);
    queue.vector.store(kNoVector);
  }
  status_.store(0, std::memory_order_release);
}

void VirtioCommonConfig::save(StateWriter& writer) const {
  writer.put(offered_features_);
  writer.put(device_feature_select_);
  writer.put(driver_feature_select_);
  writer.put(driver_features_);
  writer.put(queue_select_);
  writer.put(config_vector_.load());
  writer.put(status_.load());
  writer.put(generation_.load());
  writer.put(static_cast<std::uint16_t>(queues_.size()));
  for (const Queue& queue : queues_) {
    writer.put(queue.size);
    writer.put(static_cast<std::uint8_t>(queue.enabled));
    for (const std::uint64_t area : queue.areas) writer.put(area);
    writer.put(queue.vector.load());
  }
}

Result<void> VirtioCommonConfig::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint64_t>()) != offered_features_) return contradiction();
  device_feature_select_ = TRY(reader.get<std::uint32_t>());
  driver_feature_select_ = TRY(reader.get<std::uint32_t>());
  driver_features_ = TRY(reader.get<std::uint64_t>());
  queue_select_ = TRY(reader.get<std::uint16_t>());
  config_vector_.store(valid_vector(TRY(reader.get<std::uint16_t>())));
  const auto status = TRY(reader.get<std::uint8_t>());
  generation_.store(TRY(reader.get<std::uint8_t>()));
  if (TRY(reader.get<std::uint16_t>()) != queues_.size()) return contradiction();
  for (Queue& queue : queues_) TRY(restore_queue(queue, reader));
  const bool features_ok = (status & virtio::kStatusFeaturesOk) != 0;
  const bool driver_ok = (status & virtio::kStatusDriverOk) != 0;
  if (features_ok ? !acceptable(driver_features_) : driver_ok) return contradiction();
  status_.store(status & (kDriverStatusBits | virtio::kStatusNeedsReset));
  return {};
}

Result<void> VirtioCommonConfig::restore_queue(Queue& queue, StateReader& reader) {
  queue.size = TRY(reader.get<std::uint16_t>());
  if (queue.size > queue.maximum || !std::has_single_bit(queue.size)) return contradiction();
  queue.enabled = TRY(reader.get<std::uint8_t>()) != 0;
  for (std::uint64_t& area : queue.areas) area = TRY(reader.get<std::uint64_t>());
  queue.vector.store(valid_vector(TRY(reader.get<std::uint16_t>())));
  return {};
}

}  // namespace bulkhead
