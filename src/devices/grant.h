// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/address.h"

namespace bulkhead {

// Who may be given a share in a guest's pages. Other values are partitions, by their number.
enum class GranteeId : std::uint32_t { kHostTools = 0 };

// Names a grant while it is in force; no two in a row are equal.
enum class GrantHandle : std::uint32_t { kNone = 0 };

enum class GrantAccess : std::uint8_t { kRead, kWrite };

struct GrantRights {
  bool read = false;
  bool write = false;

  bool any() const { return read || write; }
  bool allow(GrantAccess access) const { return access == GrantAccess::kRead ? read : write; }
  bool operator==(const GrantRights&) const = default;
};

// A run of pages that a guest shares with one grantee.
struct Grant {
  Gfn first;
  std::uint64_t pages = 0;
  GranteeId grantee = GranteeId::kHostTools;
  GrantRights rights;

  Gfn end() const { return first + pages; }
  bool operator==(const Grant&) const = default;
};

struct HeldGrant {
  GrantHandle handle = GrantHandle::kNone;
  Grant grant;
};

}  // namespace bulkhead
