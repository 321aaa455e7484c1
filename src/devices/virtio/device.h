// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "devices/state.h"
#include "devices/virtio/queue.h"
#include "mem/dma_space.h"

namespace bulkhead {

// How a virtio device speaks to its driver; the transport implements it. Thread-safe.
class VirtioInterrupts {
 public:
  virtual ~VirtioInterrupts() = default;
  // Used buffers were added to a queue, and the driver wants to know (see
  // VirtQueue::wants_interrupt).
  virtual void queue_used(std::uint16_t queue_index) = 0;
  // The device's configuration changed.
  virtual void config_changed() = 0;
  // The driver broke the protocol: sets DEVICE_NEEDS_RESET (virtio 1.2 §2.1.2). The transport
  // does this by itself when process_queue() returns an error.
  virtual void needs_reset() = 0;
};

// What a driver that has set DRIVER_OK gives its device. All of it stays valid until reset().
struct VirtioActivation {
  std::uint64_t features = 0;   // negotiated: a subset of what was offered
  std::span<VirtQueue> queues;  // enabled() tells which the driver set up
  VirtioInterrupts& interrupts;
};

// A virtio device, whatever it is attached by. The transport serialises all calls with one lock,
// so a device needs none of its own towards the guest. A device that also watches descriptors of
// its own on the event loop takes that lock there: see VirtioDevice::Lock.
class VirtioDevice : public Stateful {
 public:
  virtual std::string_view name() const = 0;
  virtual std::uint32_t device_id() const = 0;         // virtio 1.2 §5
  virtual std::uint64_t offered_features() const = 0;  // without the transport's (§6)
  virtual std::span<const std::uint16_t> queue_sizes()
      const = 0;  // maximum per queue, powers of two

  // Device-specific configuration. Offsets beyond its end read as zero and write nowhere.
  virtual void read_config(std::uint64_t offset, std::span<std::byte> bytes) = 0;
  virtual void write_config(std::uint64_t offset, std::span<const std::byte> bytes) = 0;

  // DRIVER_OK. Called on a vCPU thread, with the lock.
  virtual Result<void> activate(const VirtioActivation& activation) = 0;
  // The driver rang the doorbell of a queue. Called with the lock, on the event loop's thread or,
  // where served_at_exit() says so, on a vCPU's. Does a bounded amount of work. An error means that
  // the driver broke the protocol.
  virtual Result<void> process_queue(std::uint16_t queue_index) = 0;
  // Whether a doorbell makes the vCPU exit and serve the queue itself. It costs the driver more
  // than waking the event loop, unless it spins until its request is done, as Linux's console does.
  virtual bool served_at_exit(std::uint16_t /*queue_index*/) const { return false; }
  // Back to the state before activate(). When it returns, the device no longer touches guest
  // memory: requests under way are cancelled or waited for. Called with the lock.
  virtual void reset() = 0;

  // Completes every request under way, so that the device can be saved. Called with the lock.
  virtual Result<void> quiesce() { return {}; }

  // The lock that the transport holds around every call above. The device's own event handlers
  // take it first.
  Mutex& lock() { return lock_; }

 private:
  Mutex lock_;
};

}  // namespace bulkhead
