// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"
#include "devices/virtio/device.h"

namespace bulkhead {

// What simple virtio devices have in common: serving the requests of a queue one after another, a
// bounded number at a time, and going on when the event loop comes round. Its owner, the device,
// calls everything here with its lock held.
class QueueService final : private EventHandler {
 public:
  // What one request was: how much of its writable part was filled, and how much work it made, in
  // whatever unit the limit of serve() has.
  struct Served {
    std::uint32_t written = 0;
    std::uint64_t work = 0;
  };

  static Result<std::unique_ptr<QueueService>> create(EventLoop& loop, VirtioDevice& device);

  void activate(const VirtioActivation& activation);
  void reset();
  // Between activate() and reset(), unless the driver broke the protocol.
  bool active() const { return interrupts_ != nullptr && !failed_; }
  bool active(std::uint16_t queue_index) const {
    return active() && queues_[queue_index].enabled();
  }
  std::uint64_t features() const { return features_; }

  // Gives each waiting request to `handle`, a Result<Served>(const DescriptorChain&), until none is
  // left, about as many were served as the queue holds, or their work reached the limit. Returns
  // whether more may wait; doorbells are off then. An error means that the driver broke the
  // protocol.
  template <class Handler>
  Result<bool> serve(std::uint16_t queue_index, std::uint64_t work_limit, Handler&& handle) {
    if (!active(queue_index)) return false;
    Result<bool> more = serve_some(queue_index, work_limit, handle);
    failed_ = !more;  // the queues cannot be trusted until the driver resets the device
    return more;
  }
  // Has the device's process_queue() called again soon.
  void call_again(std::uint16_t queue_index);
  // Tells the driver about an error of serve(), where no transport does so by itself.
  void report(const Error& error);
  void config_changed();

 private:
  explicit QueueService(VirtioDevice& device, Fd event)
      : device_(device), event_(std::move(event)) {}

  template <class Handler>
  Result<bool> serve_some(std::uint16_t queue_index, std::uint64_t work_limit, Handler& handle) {
    VirtQueue& queue = queues_[queue_index];
    TRY(queue.disable_doorbell());
    std::uint64_t work = 0;
    bool more = true;
    // Also counts the passes that find nothing: a driver could make those endless.
    for (unsigned pass = 0; more && work < work_limit && pass <= queue.size(); ++pass) {
      if (TRY(queue.pop(chain_))) {
        const Served served = TRY(handle(chain_));
        TRY(queue.push(chain_.head(), served.written));
        work += served.work;
      } else {
        more = TRY(queue.enable_doorbell());
      }
    }
    if (TRY(queue.wants_interrupt())) interrupts_->queue_used(queue_index);
    return more;
  }

  void on_ready(std::uint32_t events) override;

  VirtioDevice& device_;
  std::span<VirtQueue> queues_;
  VirtioInterrupts* interrupts_ = nullptr;
  std::uint64_t features_ = 0;
  bool failed_ = false;
  std::uint64_t waiting_ = 0;  // bit n: process_queue(n) is to be called
  DescriptorChain chain_;
  LogLimiter limiter_;
  Fd event_;
  Watch watch_;
};

// Reads of a device-specific configuration of these bytes: zero beyond its end.
void copy_config(std::span<const std::byte> config, std::uint64_t offset,
                 std::span<std::byte> bytes);

}  // namespace bulkhead
