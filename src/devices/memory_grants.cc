// SPDX-License-Identifier: Apache-2.0
#include "devices/memory_grants.h"

#include <limits>
#include <utility>

namespace bulkhead {

Result<void> MemoryGrants::read(GranteeId grantee, Gpa from, std::span<std::byte> to) const {
  MutexLock lock(mutex_);
  TRY(check({grantee, from, to.size(), GrantAccess::kRead}));
  return memory_.read(from, to);
}

Result<void> MemoryGrants::write(GranteeId grantee, Gpa to, std::span<const std::byte> from) {
  MutexLock lock(mutex_);
  TRY(check({grantee, to, from.size(), GrantAccess::kWrite}));
  return memory_.write(to, from);
}

Result<void> MemoryGrants::check(const Access& access) const {
  const std::uint64_t base = access.base.value();
  if (access.size_bytes == 0 || access.size_bytes > kMaxAccess ||
      !range_fits(base, access.size_bytes, std::numeric_limits<std::uint64_t>::max())) {
    return Error{Errc::kOutOfRange, 0, "an access of a grantee of no or too many bytes"};
  }
  const std::uint64_t first = base / kPageSize;
  const std::uint64_t last = (base + access.size_bytes - 1) / kPageSize;
  if (!table_.may(access.grantee, Gfn(first), last - first + 1, access.kind)) {
    return Error{Errc::kPermission, 0, "the guest has not granted this memory"};
  }
  return {};
}

bool MemoryGrants::is_memory(const Grant& grant) const {
  return range_fits(grant.first.value(), grant.pages, GrantTable::kPageLimit) &&
         memory_.contains(Gpa(grant.first.value() * kPageSize), grant.pages * kPageSize);
}

Result<GrantHandle> MemoryGrants::grant(const Grant& grant) {
  if (!is_memory(grant)) return Error{Errc::kOutOfRange, 0, "a grant of what is not memory"};
  MutexLock lock(mutex_);
  return table_.add(grant);
}

Result<void> MemoryGrants::revoke(GrantHandle handle) {
  MutexLock lock(mutex_);
  return table_.remove(handle);
}

void MemoryGrants::revoke_all() {
  MutexLock lock(mutex_);
  table_.clear();
}

std::optional<HeldGrant> MemoryGrants::next(GrantHandle from) const {
  MutexLock lock(mutex_);
  return table_.next(from);
}

std::size_t MemoryGrants::count() const {
  MutexLock lock(mutex_);
  return table_.size();
}

void MemoryGrants::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  table_.save(writer);
}

Result<void> MemoryGrants::restore(StateReader& reader) {
  GrantTable table;
  TRY(table.restore(reader));
  for (auto held = table.next(GrantHandle::kNone); held;) {
    if (!is_memory(held->grant)) {
      return Error{Errc::kMalformed, 0, "state of the grants: of what is not memory"};
    }
    const std::uint32_t number = static_cast<std::uint32_t>(held->handle) + 1;
    held = number == 0 ? std::nullopt : table.next(GrantHandle{number});
  }
  MutexLock lock(mutex_);
  table_ = std::move(table);
  return {};
}

}  // namespace bulkhead
