// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/thread.h"
#include "base/thread_annotations.h"

namespace bulkhead::daemon {

// Does on a thread of its own what takes its time, so that nobody else waits for it. Jobs are done
// one after the other, and are bounded: those that come while too many wait are refused.
class Worker final : private EventHandler {
 public:
  static constexpr std::size_t kMaxUnfinished = 64;

  using Then = std::move_only_function<void()>;  // called on the loop's thread
  using Job = std::move_only_function<Then()>;   // called on the worker's

  // `name` is the thread's.
  static Result<std::unique_ptr<Worker>> create(EventLoop& loop, const char* name);
  // Waits for the job that is under way. The others are dropped.
  ~Worker() override;

  // kBusy if too many wait.
  Result<void> run(Job job) EXCLUDES(mutex_);

 private:
  explicit Worker(Fd finished) : finished_(std::move(finished)) {}
  void on_ready(std::uint32_t events) override EXCLUDES(mutex_);
  void work() EXCLUDES(mutex_);

  const Fd finished_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::size_t unfinished_ GUARDED_BY(mutex_) = 0;
  std::deque<Job> waiting_ GUARDED_BY(mutex_);
  std::deque<Then> done_ GUARDED_BY(mutex_);
  Watch watch_;
  Thread thread_;
};

}  // namespace bulkhead::daemon
