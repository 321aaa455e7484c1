// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/thread_annotations.h"

namespace bulkhead {

// Called on the loop's thread when a watched descriptor is ready. `events` are epoll's bits.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  virtual void on_ready(std::uint32_t events) = 0;
};

// An epoll loop. One thread runs it; add, change, remove and stop may be called from any thread.
// After remove() has returned on the loop's own thread the handler is not called again, even when
// its descriptor was already reported ready. Removed from another thread, a call that is under way
// may still finish: the owner's lock has to cover that (virtio functions take theirs in on_ready).
class EventLoop {
 public:
  using Token = std::uint64_t;

  static Result<std::unique_ptr<EventLoop>> create();

  // Watches `fd` until remove(); the caller keeps the descriptor and the handler alive until then.
  Result<Token> add(int fd, std::uint32_t events, EventHandler& handler);
  Result<void> change(Token token, std::uint32_t events);
  void remove(Token token);

  // Handles events until stop(), which also counts when it came first. May be called again: what
  // was reported ready before is handled then.
  // Returns an error only when epoll itself fails.
  Result<void> run();
  // Waits for events once, at most `timeout_ms` (-1: for ever), and handles them.
  Result<void> run_once(int timeout_ms);
  void stop();

  // Readable while an event waits: another loop can watch this one, and call run_once(0).
  int fd() const { return epoll_.get(); }

 private:
  struct Slot {
    EventHandler* handler = nullptr;
    int fd = -1;
    std::uint32_t generation = 0;
  };

  EventLoop(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  EventHandler* find(Token token);

  Fd epoll_;
  Fd wake_;
  std::atomic<bool> stopping_ = false;
  Mutex mutex_;
  std::vector<Slot> slots_ GUARDED_BY(mutex_);
};

// Removes a registration when it goes out of scope.
class Watch {
 public:
  Watch() = default;
  Watch(EventLoop& loop, EventLoop::Token token) : loop_(&loop), token_(token) {}
  Watch(Watch&& other) noexcept
      : loop_(std::exchange(other.loop_, nullptr)), token_(other.token_) {}
  Watch& operator=(Watch&& other) noexcept;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { reset(); }

  static Result<Watch> create(EventLoop& loop, int fd, std::uint32_t events, EventHandler& handler);
  Result<void> change(std::uint32_t events) { return loop_->change(token_, events); }
  bool active() const { return loop_ != nullptr; }
  void reset();

 private:
  EventLoop* loop_ = nullptr;
  EventLoop::Token token_ = 0;
};

}  // namespace bulkhead
