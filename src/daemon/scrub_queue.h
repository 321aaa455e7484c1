// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/event_loop.h"
#include "daemon/frame_keeper.h"

namespace bulkhead::daemon {

// Scrubs on the event loop, one run a round, so that clients are served in between.
class ScrubQueue final : private EventHandler {
 public:
  static Result<std::unique_ptr<ScrubQueue>> create(EventLoop& loop, FrameKeeper& keeper);
  // There may be something to do.
  void wake();

 private:
  ScrubQueue(FrameKeeper& keeper, Fd wake, Fd timer)
      : keeper_(keeper), wake_(std::move(wake)), timer_(std::move(timer)) {}
  void on_ready(std::uint32_t events) override;
  void try_again_later();

  FrameKeeper& keeper_;
  Fd wake_;
  Fd timer_;  // for runs that somebody still maps
  Watch watch_wake_;
  Watch watch_timer_;
};

}  // namespace bulkhead::daemon
