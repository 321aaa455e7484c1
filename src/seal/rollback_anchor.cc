// SPDX-License-Identifier: Apache-2.0
#include "seal/rollback_anchor.h"

namespace bulkhead {

Result<AnchorMark> MemoryAnchor::newest(const StoreId& store) {
  if (store_ != store) return Error{Errc::kNotFound, 0, "the store was never anchored here"};
  return mark_;
}

Result<void> MemoryAnchor::advance(const StoreId& store, const AnchorMark& mark) {
  if (store_.has_value() && store_ != store) {
    return Error{Errc::kExists, 0, "the anchor is another store's"};
  }
  if (store_.has_value() && mark.generation <= mark_.generation) {
    return Error{Errc::kRolledBack, 0, "an anchor does not go back"};
  }
  store_ = store;
  mark_ = mark;
  return {};
}

Result<void> MemoryAnchor::forget(const StoreId& store) {
  if (store_ == store) store_.reset();
  return {};
}

}  // namespace bulkhead
