// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <utility>

#include "base/result.h"

namespace bulkhead {

// A joined thread with a small stack. Unlike std::thread it reports failure to start as a Result.
class Thread {
 public:
  using Body = void (*)(void* argument);

  Thread() = default;
  Thread(Thread&& other) noexcept
      : handle_(other.handle_), running_(std::exchange(other.running_, false)) {}
  Thread& operator=(Thread&& other) noexcept;
  Thread(const Thread&) = delete;
  ~Thread() { join(); }

  // `name` has at most 15 characters. `argument` outlives the thread.
  static Result<Thread> start(const char* name, Body body, void* argument);
  void join();

 private:
  explicit Thread(pthread_t handle) : handle_(handle), running_(true) {}

  pthread_t handle_{};
  bool running_ = false;
};

}  // namespace bulkhead
