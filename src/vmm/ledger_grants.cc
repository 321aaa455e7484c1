// SPDX-License-Identifier: Apache-2.0
#include "vmm/ledger_grants.h"

#include "base/log.h"

namespace bulkhead {

Result<GrantHandle> LedgerGrants::grant(const Grant& grant) {
  if (grant.grantee != GranteeId::kHostTools) {
    return Error{Errc::kPermission, 0,
                 "pages are shared with the host's tools only, not with a partition"};
  }
  const std::uint64_t limit = memory_.layout().growth_base.value() / kPageSize;
  if (!range_fits(grant.first.value(), grant.pages, limit)) {
    return Error{Errc::kPermission, 0, "memory that can be unplugged cannot be shared"};
  }
  MutexLock lock(mutex_);
  const LedgerNote note = TRY(frames_.note_shared({.first_page = grant.first.value(),
                                                   .pages = grant.pages,
                                                   .read = grant.rights.read,
                                                   .write = grant.rights.write}));
  const Result<GrantHandle> handle = grants_.grant(grant);
  if (handle) {
    notes_[*handle] = note;
  } else if (Result<void> undone = frames_.note_unshared(note); !undone) {
    log_failure("ledger_not_told", undone.error());
  }
  return handle;
}

Result<void> LedgerGrants::revoke(GrantHandle handle) {
  MutexLock lock(mutex_);
  TRY(grants_.revoke(handle));
  forget(handle);
  return {};
}

void LedgerGrants::revoke_all() {
  MutexLock lock(mutex_);
  grants_.revoke_all();
  while (!notes_.empty()) forget(notes_.begin()->first);
}

void LedgerGrants::forget(GrantHandle handle) {
  const auto note = notes_.find(handle);
  if (note == notes_.end()) return;
  if (Result<void> told = frames_.note_unshared(note->second); !told) {
    log_failure("ledger_not_told", told.error());
  }
  notes_.erase(note);
}

}  // namespace bulkhead
