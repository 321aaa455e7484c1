// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "devices/grant.h"
#include "devices/state.h"

namespace bulkhead {

// The grants of one partition, and what they allow. Grants to one grantee never overlap: once its
// handle is revoked, nothing else gives that grantee the pages. Knows nothing of memory, and is not
// thread-safe: see MemoryGrants.
class GrantTable : public Stateful {
 public:
  static constexpr std::size_t kCapacity = 256;
  static constexpr std::uint64_t kPageLimit = std::uint64_t{1} << 40;  // 52 bits of address

  GrantTable() { entries_.reserve(kCapacity); }

  // Errors as GrantKeeper::grant(), without those that need to know memory or the host's rules.
  Result<GrantHandle> add(const Grant& grant);
  Result<void> remove(GrantHandle handle);
  void clear() { entries_.clear(); }

  // Whether the grantee may access every one of these pages; of no pages at all, never.
  bool may(GranteeId grantee, Gfn first, std::uint64_t pages, GrantAccess access) const;

  std::optional<HeldGrant> next(GrantHandle from) const;
  std::size_t size() const { return entries_.size(); }

  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  using Entries = std::vector<HeldGrant>;

  Result<void> insert(GrantHandle handle, const Grant& grant);
  // The first entry of the grantee, or of a later one, that ends beyond the page.
  Entries::const_iterator ends_after(GranteeId grantee, Gfn page) const;
  Entries::const_iterator find(GrantHandle handle) const;
  GrantHandle next_handle() const;

  Entries entries_;  // sorted by grantee, then first page; never grows beyond what is reserved
  GrantHandle last_handle_ = GrantHandle::kNone;
};

}  // namespace bulkhead
