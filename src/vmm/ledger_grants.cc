// SPDX-License-Identifier: Apache-2.0
#include "vmm/ledger_grants.h"

#include "base/log.h"

namespace bulkhead {
namespace {

Result<Rights> rights_of(const Grant& grant) {
  if (!grant.rights.any()) return Error{Errc::kInvalidArgument, 0, "a grant without rights"};
  if (!grant.rights.write) return Rights::kRead;
  return grant.rights.read ? Rights::kReadWrite : Rights::kWrite;
}

}  // namespace

Result<GrantHandle> LedgerGrants::grant(const Grant& grant) {
  if (grant.grantee != GranteeId::kHostTools) {
    return Error{Errc::kPermission, 0,
                 "pages are shared with the host's tools only, not with a partition"};
  }
  const std::uint64_t limit = memory_.layout().growth_base.value() / kPageSize;
  if (!range_fits(grant.first.value(), grant.pages, limit)) {
    return Error{Errc::kPermission, 0, "memory that can be unplugged cannot be shared"};
  }
  const Rights rights = TRY(rights_of(grant));
  MutexLock lock(mutex_);
  const GrantId noted =
      TRY(frames_.note_shared({PageIndex(grant.first.value()), grant.pages}, rights));
  const Result<GrantHandle> handle = grants_.grant(grant);
  if (handle) {
    noted_[*handle] = noted;
  } else if (Result<void> undone = frames_.note_unshared(noted); !undone) {
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
  while (!noted_.empty()) forget(noted_.begin()->first);
}

void LedgerGrants::forget(GrantHandle handle) {
  const auto noted = noted_.find(handle);
  if (noted == noted_.end()) return;
  if (Result<void> told = frames_.note_unshared(noted->second); !told) {
    log_failure("ledger_not_told", told.error());
  }
  noted_.erase(noted);
}

}  // namespace bulkhead
