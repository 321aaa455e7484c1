// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "base/result.h"
#include "devices/grant.h"
#include "devices/state.h"

namespace bulkhead {

// Keeps what a partition granted, and to whom: what the grant device speaks to. Thread-safe. Its
// methods are called on vCPU threads, and their time is the guest's.
class GrantKeeper : public Stateful {
 public:
  // The grant is in force when it returns. Errors: kInvalidArgument (no pages, or no rights),
  // kOutOfRange (not whole pages of RAM), kExists (overlaps one to the same grantee), kExhausted,
  // kPermission (the host allows no such grantee, or not to share these pages).
  virtual Result<GrantHandle> grant(const Grant& grant) = 0;
  // When it returns the grantee has no access any more, and none of its accesses is under way.
  // kNotFound for a handle that is not in force.
  virtual Result<void> revoke(GrantHandle handle) = 0;
  virtual void revoke_all() = 0;
  // The grant with the smallest handle from `from` on: walks the list without a copy of it.
  virtual std::optional<HeldGrant> next(GrantHandle from) const = 0;
  virtual std::size_t count() const = 0;
};

}  // namespace bulkhead
