// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/result.h"
#include "crypto/secret_bytes.h"
#include "seal/lane.h"

namespace bulkhead {

// Cipher contexts of one key for several threads: each borrows one that no other has. Expanding the
// key costs more than sealing a page, so contexts are kept. Context::create(key) makes one.
template <class Context>
class ContextPool {
 public:
  // `key` outlives the pool.
  explicit ContextPool(const SecretBytes& key) : key_(key) {}
  ContextPool(const ContextPool&) = delete;
  ContextPool& operator=(const ContextPool&) = delete;
  ~ContextPool() {
    for (Slot& slot : slots_) delete slot.context.load(std::memory_order_acquire);
  }

  // A borrowed context; goes back when it leaves its scope, and outlives not the pool.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : pool_(other.pool_), context_(std::move(other.context_)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      if (context_ != nullptr) pool_.put_back(std::move(context_));
    }
    Context* operator->() { return context_.get(); }

   private:
    friend class ContextPool;
    Lease(ContextPool& pool, std::unique_ptr<Context> context)
        : pool_(pool), context_(std::move(context)) {}

    ContextPool& pool_;
    std::unique_ptr<Context> context_;
  };

  Result<Lease> borrow() {
    const std::size_t home = lane_of_thread();
    for (std::size_t i = 0; i < kLanes; ++i) {
      Slot& slot = slots_[(home + i) % kLanes];
      if (slot.context.load(std::memory_order_relaxed) == nullptr) continue;
      Context* taken = slot.context.exchange(nullptr, std::memory_order_acquire);
      if (taken != nullptr) return Lease(*this, std::unique_ptr<Context>(taken));
    }
    return Lease(*this, std::make_unique<Context>(TRY(Context::create(key_))));
  }

 private:
  // Alone on its cache line, so that threads with different slots do not disturb each other.
  struct alignas(64) Slot {
    std::atomic<Context*> context = nullptr;
  };

  void put_back(std::unique_ptr<Context> context) {
    const std::size_t home = lane_of_thread();
    for (std::size_t i = 0; i < kLanes; ++i) {
      Context* expected = nullptr;
      Slot& slot = slots_[(home + i) % kLanes];
      if (slot.context.compare_exchange_strong(expected, context.get(), std::memory_order_release,
                                               std::memory_order_relaxed)) {
        (void)context.release();  // the slot owns it now
        return;
      }
    }
  }

  const SecretBytes& key_;
  std::array<Slot, kLanes> slots_;
};

}  // namespace bulkhead
