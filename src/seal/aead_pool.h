// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "crypto/aead.h"
#include "seal/lane.h"

namespace bulkhead {

// Contexts of one key for several threads: each borrows one that no other has. Expanding the key
// costs more than sealing a page, so contexts are kept.
class AeadPool {
 public:
  // `key` outlives the pool.
  explicit AeadPool(const SecretBytes& key) : key_(key) {}
  AeadPool(const AeadPool&) = delete;
  AeadPool& operator=(const AeadPool&) = delete;
  ~AeadPool();

  // A borrowed context; goes back when it leaves its scope, and outlives not the pool.
  class Lease {
   public:
    Lease(Lease&& other) noexcept : pool_(other.pool_), aead_(std::move(other.aead_)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    Aead* operator->() { return aead_.get(); }

   private:
    friend class AeadPool;
    Lease(AeadPool& pool, std::unique_ptr<Aead> aead) : pool_(pool), aead_(std::move(aead)) {}

    AeadPool& pool_;
    std::unique_ptr<Aead> aead_;
  };
  Result<Lease> borrow();

 private:
  // Alone on its cache line, so that threads with different slots do not disturb each other.
  struct alignas(64) Slot {
    std::atomic<Aead*> aead = nullptr;
  };

  void put_back(std::unique_ptr<Aead> aead);

  const SecretBytes& key_;
  std::array<Slot, kLanes> slots_;
};

}  // namespace bulkhead
