// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "crypto/digest.h"
#include "seal/identity.h"

namespace bulkhead {

// A committed state: its number, and the tag of its superblock. The tag tells two states of one
// number, of which only one was anchored (the other's commit was cut off).
struct AnchorMark {
  std::uint64_t generation = 0;
  Sha256Digest tag{};

  bool operator==(const AnchorMark&) const = default;
};

// The newest committed state of one store, remembered where whoever rolls the store back cannot
// roll back this too: a TPM's memory, another disk.
class RollbackAnchor {
 public:
  virtual ~RollbackAnchor() = default;

  // kNotFound if the store was never anchored here.
  virtual Result<AnchorMark> newest(const StoreId& store) = 0;
  // Lasting when it returns. kRolledBack if it would go back.
  virtual Result<void> advance(const StoreId& store, const AnchorMark& mark) = 0;
  // The store was destroyed.
  virtual Result<void> forget(const StoreId& store) = 0;
};

// For as long as the object lives.
class MemoryAnchor final : public RollbackAnchor {
 public:
  Result<AnchorMark> newest(const StoreId& store) override;
  Result<void> advance(const StoreId& store, const AnchorMark& mark) override;
  Result<void> forget(const StoreId& store) override;

 private:
  std::optional<StoreId> store_;
  AnchorMark mark_;
};

}  // namespace bulkhead
