// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "devices/state.h"
#include "mem/dma_space.h"

namespace bulkhead {

inline constexpr std::uint16_t kMaxQueueSize = 256;

// One request of a driver: a copy of its descriptors, taken once and checked. The segments that
// the device may read come first, then those that it may write (virtio 1.2 §2.7.4.2).
class DescriptorChain {
 public:
  std::uint16_t head() const { return head_; }
  std::span<const DmaSegment> readable() const { return {segments_.data(), readable_}; }
  std::span<const DmaSegment> writable() const {
    return {segments_.data() + readable_, std::size_t{count_} - readable_};
  }

 private:
  friend class VirtQueue;

  std::uint16_t head_ = 0;
  std::uint16_t count_ = 0;
  std::uint16_t readable_ = 0;
  std::array<DmaSegment, kMaxQueueSize> segments_;
};

// A split virtqueue (virtio 1.2 §2.7), the device's side, with indirect descriptors and event
// indices. Everything that the driver writes is fetched once and checked before use; a chain is at
// most as long as the queue, indirect or not. Not thread-safe: the device's lock covers it.
class VirtQueue {
 public:
  struct Layout {
    std::uint16_t size = 0;  // a power of two, at most kMaxQueueSize
    DmaAddr descriptors;
    DmaAddr available;
    DmaAddr used;
  };

  VirtQueue() = default;

  // Refuses a layout that is misaligned, of a wrong size, or not reachable.
  static Result<VirtQueue> create(const DmaSpace& space, const Layout& layout,
                                  std::uint64_t features);

  bool enabled() const { return space_ != nullptr; }
  std::uint16_t size() const { return layout_.size; }
  const Layout& layout() const { return layout_; }

  // Takes the next request into `chain`; false when there is none. An error means that the driver
  // broke the protocol; the queue is unusable until the device is reset.
  Result<bool> pop(DescriptorChain& chain);
  // Puts back what pop() took last, so that the next pop() finds it again.
  void unpop();
  // A request to give back: `written` bytes of its writable part were filled, from the start.
  struct Used {
    std::uint16_t head = 0;
    std::uint32_t written = 0;
  };
  Result<void> push(std::uint16_t head, std::uint32_t written);
  // Several at once: the driver sees all of them or none (a frame in several buffers, §5.1.6.4).
  Result<void> push(std::span<const Used> batch);
  // Whether the driver asked to be interrupted for what was pushed since the last call
  // (virtio 1.2 §2.7.7, §2.7.10). Call after a batch of push().
  Result<bool> wants_interrupt();
  // Asks the driver for doorbells again after pop() found nothing. Returns whether requests
  // arrived meanwhile: then pop() again, or they would wait for ever.
  Result<bool> enable_doorbell();
  // Asks the driver not to ring while the device is busy anyway: a hint that saves exits.
  Result<void> disable_doorbell();
  // How many requests wait.
  Result<std::uint16_t> pending() const;

  // Positions, for saving and restoring; the layout is the transport's to save.
  void save(StateWriter& writer) const;
  Result<void> restore(StateReader& reader);

 private:
  VirtQueue(const DmaSpace& space, const Layout& layout, std::uint64_t features);
  // Reads the chain that starts at `head` into `chain`.
  Result<void> collect(std::uint16_t head, DescriptorChain& chain) const;

  const DmaSpace* space_ = nullptr;
  Layout layout_;
  bool indirect_ = false;
  bool event_index_ = false;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint16_t signalled_used_ = 0;  // next_used_ when an interrupt was last considered
};

}  // namespace bulkhead
