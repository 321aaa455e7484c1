// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>

#include "base/thread_annotations.h"
#include "devices/memory_grants.h"
#include "mem/frame_source.h"

namespace bulkhead {

// The grants of a partition, with the ledger told of each: it is told before a grant is in force,
// and of a revocation after, so that it never shows less than what is shared.
class LedgerGrants final : public GrantKeeper {
 public:
  // Both outlive it.
  LedgerGrants(GuestMemory& memory, FrameSource& frames)
      : memory_(memory), frames_(frames), grants_(memory) {}
  // Grants end with the partition; the ledger would keep frames that it shares.
  ~LedgerGrants() override { revoke_all(); }

  const MemoryGrants& in_force() const { return grants_; }

  // kPermission also for a grantee other than the host's tools, since nothing carries pages to
  // another partition yet, and for memory that can be unplugged.
  Result<GrantHandle> grant(const Grant& grant) override;
  Result<void> revoke(GrantHandle handle) override;
  void revoke_all() override;
  std::optional<HeldGrant> next(GrantHandle from) const override { return grants_.next(from); }
  std::size_t count() const override { return grants_.count(); }

  void save(StateWriter& writer) const override { grants_.save(writer); }
  Result<void> restore(StateReader& reader) override { return grants_.restore(reader); }

 private:
  void forget(GrantHandle handle) REQUIRES(mutex_);

  GuestMemory& memory_;
  FrameSource& frames_;
  MemoryGrants grants_;
  Mutex mutex_;  // before those of the others
  std::map<GrantHandle, GrantId> noted_ GUARDED_BY(mutex_);
};

}  // namespace bulkhead
