// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue_service.h"

#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace bulkhead {

Result<std::unique_ptr<QueueService>> QueueService::create(EventLoop& loop, VirtioDevice& device) {
  std::unique_ptr<QueueService> service(new QueueService(device, TRY(Fd::event())));
  service->watch_ = TRY(Watch::create(loop, service->event_.get(), EPOLLIN, *service));
  return service;
}

void QueueService::activate(const VirtioActivation& activation) {
  queues_ = activation.queues;
  interrupts_ = &activation.interrupts;
  features_ = activation.features;
  failed_ = false;
}

void QueueService::reset() {
  queues_ = {};
  interrupts_ = nullptr;
  features_ = 0;
  failed_ = false;
  waiting_ = 0;
}

void QueueService::call_again(std::uint16_t queue_index) {
  waiting_ |= std::uint64_t{1} << queue_index;
  signal_event(event_.get());
}

void QueueService::config_changed() {
  if (active()) interrupts_->config_changed();
}

void QueueService::report(const Error& error) {
  if (limiter_.allow()) log_failure("virtio_driver_error", error, {{"device", device_.name()}});
  interrupts_->needs_reset();
}

void QueueService::on_ready(std::uint32_t /*events*/) {
  MutexLock lock(device_.lock());
  drain_event(event_.get());
  std::uint64_t left = std::exchange(waiting_, 0);
  for (; left != 0; left &= left - 1) {
    const auto index = static_cast<std::uint16_t>(std::countr_zero(left));
    if (const Result<void> done = device_.process_queue(index); !done) report(done.error());
  }
}

void copy_config(std::span<const std::byte> config, std::uint64_t offset,
                 std::span<std::byte> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  if (offset >= config.size()) return;
  const std::size_t count = std::min<std::uint64_t>(bytes.size(), config.size() - offset);
  std::copy_n(config.begin() + static_cast<std::ptrdiff_t>(offset), count, bytes.begin());
}

}  // namespace bulkhead
