// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/state.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/spec.h"

namespace bulkhead {

// The common configuration structure (virtio 1.2 §4.1.4.3): negotiation of features, the set-up
// of queues, and the device status. What follows from a change of status is the owner's.
//
// The device's lock covers everything except for what is said to be thread-safe.
class VirtioCommonConfig {
 public:
  static constexpr std::uint64_t kSize = 0x3c;
  static constexpr std::uint16_t kNoVector = 0xffff;

  class Owner {
   public:
    virtual ~Owner() = default;
    // DRIVER_OK was set.
    virtual void driver_ok() = 0;
    // 0 was written to the status. The registers are reset afterwards.
    virtual void driver_reset() = 0;
  };

  struct Options {
    std::uint64_t offered_features = 0;
    std::uint64_t required_features = 0;           // without which FEATURES_OK is refused
    std::span<const std::uint16_t> queue_sizes{};  // the maximum of each queue
    std::uint16_t vectors = 0;                     // of MSI-X
  };

  VirtioCommonConfig(const Options& options, Owner& owner);

  // Accesses of a field's own width, or of halves of a 64-bit field; others read as zero and write
  // nowhere.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;
  void write(std::uint64_t offset, std::span<const std::byte> bytes);

  std::uint64_t features() const { return driver_features_; }
  std::size_t queue_count() const { return queues_.size(); }
  bool queue_enabled(std::size_t index) const { return queues_[index].enabled; }
  VirtQueue::Layout queue_layout(std::size_t index) const;

  // Thread-safe.
  std::uint8_t status() const { return status_.load(std::memory_order_acquire); }
  // DRIVER_OK without DEVICE_NEEDS_RESET.
  bool running() const;
  void set_needs_reset() { status_.fetch_or(virtio::kStatusNeedsReset); }
  void config_changed() { generation_.fetch_add(1); }
  std::uint16_t config_vector() const { return config_vector_.load(std::memory_order_acquire); }
  // kNoVector also for a queue that does not exist.
  std::uint16_t queue_vector(std::size_t index) const;

  void save(StateWriter& writer) const;
  Result<void> restore(StateReader& reader);

 private:
  struct Queue {
    std::uint16_t maximum = 0;
    std::uint16_t size = 0;
    bool enabled = false;
    // descriptor table, driver (available) area, device (used) area
    std::uint64_t areas[3] = {};
    std::atomic<std::uint16_t> vector = kNoVector;
  };

  std::uint32_t read_field(std::uint64_t offset) const;
  std::uint32_t read_queue_field(const Queue& queue, std::uint64_t offset) const;
  void write_field(std::uint64_t offset, std::uint32_t value);
  void write_queue_field(Queue& queue, std::uint64_t offset, std::uint32_t value);
  void write_driver_feature(std::uint32_t value);
  void write_status(std::uint8_t value);
  bool acceptable(std::uint64_t features) const;
  void reset();
  std::uint16_t valid_vector(std::uint32_t value) const;
  Result<void> restore_queue(Queue& queue, StateReader& reader);
  // The queue that queue_select names, or nullptr.
  const Queue* selected() const;

  const std::uint64_t offered_features_;
  const std::uint64_t required_features_;
  const std::uint16_t vectors_;
  Owner& owner_;

  std::uint32_t device_feature_select_ = 0;
  std::uint32_t driver_feature_select_ = 0;
  std::uint64_t driver_features_ = 0;
  std::uint16_t queue_select_ = 0;
  std::vector<Queue> queues_;
  std::atomic<std::uint16_t> config_vector_ = kNoVector;
  std::atomic<std::uint8_t> status_ = 0;
  std::atomic<std::uint8_t> generation_ = 0;
};

}  // namespace bulkhead
