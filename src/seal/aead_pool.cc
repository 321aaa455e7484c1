// SPDX-License-Identifier: Apache-2.0
#include "seal/aead_pool.h"

namespace bulkhead {

AeadPool::~AeadPool() {
  for (Slot& slot : slots_) delete slot.aead.load(std::memory_order_acquire);
}

AeadPool::Lease::~Lease() {
  if (aead_ != nullptr) pool_.put_back(std::move(aead_));
}

Result<AeadPool::Lease> AeadPool::borrow() {
  const std::size_t home = lane_of_thread();
  for (std::size_t i = 0; i < kLanes; ++i) {
    Slot& slot = slots_[(home + i) % kLanes];
    if (slot.aead.load(std::memory_order_relaxed) == nullptr) continue;
    Aead* taken = slot.aead.exchange(nullptr, std::memory_order_acquire);
    if (taken != nullptr) return Lease(*this, std::unique_ptr<Aead>(taken));
  }
  return Lease(*this, std::make_unique<Aead>(TRY(Aead::create(key_))));
}

void AeadPool::put_back(std::unique_ptr<Aead> aead) {
  const std::size_t home = lane_of_thread();
  for (std::size_t i = 0; i < kLanes; ++i) {
    Aead* expected = nullptr;
    Slot& slot = slots_[(home + i) % kLanes];
    if (slot.aead.compare_exchange_strong(expected, aead.get(), std::memory_order_release,
                                          std::memory_order_relaxed)) {
      (void)aead.release();  // the slot owns it now
      return;
    }
  }
}

}  // namespace bulkhead
