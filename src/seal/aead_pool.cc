// SPDX-License-Identifier: Apache-2.0
#include "seal/aead_pool.h"

#include <pthread.h>

#include <cstdint>

namespace bulkhead {
namespace {

// Where a thread looks first: mostly its own slot.
std::size_t home_slot() {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
  return static_cast<std::size_t>((std::uint64_t{pthread_self()} >> 12) * kGolden >> 61);
}

}  // namespace

AeadPool::~AeadPool() {
  for (Slot& slot : slots_) delete slot.aead.load(std::memory_order_acquire);
}

AeadPool::Lease::~Lease() {
  if (aead_ != nullptr) pool_.put_back(std::move(aead_));
}

Result<AeadPool::Lease> AeadPool::borrow() {
  const std::size_t home = home_slot();
  for (std::size_t i = 0; i < kSlots; ++i) {
    Slot& slot = slots_[(home + i) % kSlots];
    if (slot.aead.load(std::memory_order_relaxed) == nullptr) continue;
    Aead* taken = slot.aead.exchange(nullptr, std::memory_order_acquire);
    if (taken != nullptr) return Lease(*this, std::unique_ptr<Aead>(taken));
  }
  return Lease(*this, std::make_unique<Aead>(TRY(Aead::create(key_))));
}

void AeadPool::put_back(std::unique_ptr<Aead> aead) {
  const std::size_t home = home_slot();
  for (std::size_t i = 0; i < kSlots; ++i) {
    Aead* expected = nullptr;
    Slot& slot = slots_[(home + i) % kSlots];
    if (slot.aead.compare_exchange_strong(expected, aead.get(), std::memory_order_release,
                                          std::memory_order_relaxed)) {
      (void)aead.release();  // the slot owns it now
      return;
    }
  }
}

}  // namespace bulkhead
