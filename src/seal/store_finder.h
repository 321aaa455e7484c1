// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "seal/rollback_anchor.h"
#include "seal/sealed_store.h"
#include "seal/superblock.h"

namespace bulkhead {

struct FoundStore {
  SealScope scope;
  SuperblockKeys keys;
  VerifiedSuperblock superblock;
};

// The newest whole superblock on the medium, and what is wrong if there is none.
Result<FoundStore> find_store(const SealedStoreOptions& options, const SecretBytes& partition_key);

// Whether the medium holds a superblock of any store.
bool holds_a_store(Medium& medium);

// kRolledBack unless the store is in the state that the anchor knows, or in the one after it, whose
// commit was interrupted before it was anchored. Returns whether it is the latter.
Result<bool> check_anchor(const AnchorMark& store, const AnchorMark& anchor);

}  // namespace bulkhead
