// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/thread_annotations.h"
#include "devices/grant_keeper.h"
#include "devices/grant_table.h"
#include "mem/guest_memory.h"

namespace bulkhead {

// The grants of a partition within its monitor, and the only way by which a grantee gets at its
// memory. Permission and access are one step: a revocation waits for the copy that is under way,
// and no later one comes through. Any thread.
class MemoryGrants final : public GrantKeeper {
 public:
  // Of one access: what a revocation may have to wait for.
  static constexpr std::size_t kMaxAccess = 1 * kMiB;

  explicit MemoryGrants(GuestMemory& memory) : memory_(memory) {}

  // The grantee's side. kPermission unless it may access every page of the range; kOutOfRange for
  // what is too long, or no longer RAM.
  Result<void> read(GranteeId grantee, Gpa from, std::span<std::byte> to) const;
  Result<void> write(GranteeId grantee, Gpa to, std::span<const std::byte> from);

  // The guest's side: GrantKeeper.
  Result<GrantHandle> grant(const Grant& grant) override;
  Result<void> revoke(GrantHandle handle) override;
  void revoke_all() override;
  std::optional<HeldGrant> next(GrantHandle from) const override;
  std::size_t count() const override;

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  struct Access {
    GranteeId grantee = GranteeId::kHostTools;
    Gpa base;
    std::size_t size_bytes = 0;
    GrantAccess kind = GrantAccess::kRead;
  };
  Result<void> check(const Access& access) const REQUIRES(mutex_);
  bool is_memory(const Grant& grant) const;

  GuestMemory& memory_;
  mutable Mutex mutex_;
  GrantTable table_ GUARDED_BY(mutex_);
};

}  // namespace bulkhead
