// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "seal/lane.h"

namespace bulkhead {

// A readers-writer lock whose readers do not disturb each other, each having its own lock for the
// most part; the rare writer takes all of them, and readers let it pass.
class Gate {
 public:
  class Shared {
   public:
    explicit Shared(Gate& gate) : lock_(gate.enter()) {}

   private:
    std::shared_lock<std::shared_mutex> lock_;
  };

  class Exclusive {
   public:
    explicit Exclusive(Gate& gate) : gate_(gate), writer_(gate.writer_) {
      gate_.writer_waits_.store(true, std::memory_order_relaxed);
      for (Lane& lane : gate_.lanes_) lane.mutex.lock();
    }
    ~Exclusive() {
      gate_.writer_waits_.store(false, std::memory_order_relaxed);
      for (Lane& lane : gate_.lanes_) lane.mutex.unlock();
    }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

   private:
    Gate& gate_;
    std::lock_guard<std::mutex> writer_;
  };

 private:
  struct alignas(64) Lane {
    std::shared_mutex mutex;
  };

  std::shared_lock<std::shared_mutex> enter() {
    // glibc's lock prefers readers, who could keep a writer out for ever.
    if (writer_waits_.load(std::memory_order_relaxed)) const std::lock_guard queue(writer_);
    return std::shared_lock(lanes_[lane_of_thread()].mutex);
  }

  std::array<Lane, kLanes> lanes_;
  std::mutex writer_;
  std::atomic<bool> writer_waits_ = false;
};

}  // namespace bulkhead
