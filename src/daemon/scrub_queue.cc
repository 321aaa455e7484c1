// SPDX-License-Identifier: Apache-2.0
#include "daemon/scrub_queue.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

namespace bulkhead::daemon {
namespace {

constexpr long kRetryNs = 250'000'000;

}  // namespace

Result<std::unique_ptr<ScrubQueue>> ScrubQueue::create(EventLoop& loop, FrameKeeper& keeper) {
  Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.valid()) return os_error("cannot create a timer");
  std::unique_ptr<ScrubQueue> queue(new ScrubQueue(keeper, TRY(Fd::event()), std::move(timer)));
  queue->watch_wake_ = TRY(Watch::create(loop, queue->wake_.get(), EPOLLIN, *queue));
  queue->watch_timer_ = TRY(Watch::create(loop, queue->timer_.get(), EPOLLIN, *queue));
  queue->wake();
  return queue;
}

void ScrubQueue::wake() {
  signal_event(wake_.get());
}

void ScrubQueue::on_ready(std::uint32_t /*events*/) {
  drain_event(wake_.get());
  drain_event(timer_.get());
  switch (keeper_.scrub_one()) {
    case FrameKeeper::Scrub::kIdle:
      return;
    case FrameKeeper::Scrub::kMore:
      return wake();
    case FrameKeeper::Scrub::kBlocked:
      return try_again_later();
  }
}

void ScrubQueue::try_again_later() {
  const itimerspec once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = kRetryNs}};
  ::timerfd_settime(timer_.get(), 0, &once, nullptr);
}

}  // namespace bulkhead::daemon
