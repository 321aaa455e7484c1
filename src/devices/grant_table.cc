// SPDX-License-Identifier: Apache-2.0
#include "devices/grant_table.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint8_t kMayRead = 1;
constexpr std::uint8_t kMayWrite = 2;

}  // namespace

Result<GrantHandle> GrantTable::add(const Grant& grant) {
  const GrantHandle handle = next_handle();
  TRY(insert(handle, grant));
  last_handle_ = handle;
  return handle;
}

Result<void> GrantTable::insert(GrantHandle handle, const Grant& grant) {
  if (grant.pages == 0 || !grant.rights.any()) {
    return Error{Errc::kInvalidArgument, 0, "a grant of nothing"};
  }
  if (!range_fits(grant.first.value(), grant.pages, kPageLimit)) {
    return Error{Errc::kOutOfRange, 0, "a grant beyond all memory"};
  }
  if (entries_.size() == kCapacity) return Error{Errc::kExhausted, 0, "too many grants"};
  const auto place = ends_after(grant.grantee, grant.first);
  if (place != entries_.end() && place->grant.grantee == grant.grantee &&
      place->grant.first < grant.end()) {
    return Error{Errc::kExists, 0, "a grant overlaps another to the same grantee"};
  }
  entries_.insert(place, HeldGrant{handle, grant});
  return {};
}

Result<void> GrantTable::remove(GrantHandle handle) {
  const auto found = find(handle);
  if (found == entries_.end()) return Error{Errc::kNotFound, 0, "no such grant"};
  entries_.erase(found);
  return {};
}

// Adjacent grants add up: the loop goes from one to the next, as long as no page is left out.
bool GrantTable::may(GranteeId grantee, Gfn first, std::uint64_t pages, GrantAccess access) const {
  if (pages == 0 || !range_fits(first.value(), pages, kPageLimit)) return false;
  Gfn reached = first;
  for (auto entry = ends_after(grantee, first); entry != entries_.end(); ++entry) {
    const Grant& grant = entry->grant;
    const bool covers = grant.grantee == grantee && grant.first <= reached;
    if (!covers || !grant.rights.allow(access)) return false;
    reached = grant.end();
    if (reached >= first + pages) return true;
  }
  return false;
}

GrantTable::Entries::const_iterator GrantTable::ends_after(GranteeId grantee, Gfn page) const {
  return std::partition_point(entries_.begin(), entries_.end(), [&](const HeldGrant& entry) {
    return std::tuple(entry.grant.grantee, entry.grant.end()) <= std::tuple(grantee, page);
  });
}

GrantTable::Entries::const_iterator GrantTable::find(GrantHandle handle) const {
  return std::ranges::find(entries_, handle, &HeldGrant::handle);
}

// After 2^32 grants, numbers that are still in use are passed over.
GrantHandle GrantTable::next_handle() const {
  auto number = static_cast<std::uint32_t>(last_handle_);
  do {
    ++number;
  } while (number == 0 || find(GrantHandle{number}) != entries_.end());
  return GrantHandle{number};
}

std::optional<HeldGrant> GrantTable::next(GrantHandle from) const {
  std::optional<HeldGrant> best;
  for (const HeldGrant& entry : entries_) {
    if (entry.handle >= from && (!best || entry.handle < best->handle)) best = entry;
  }
  return best;
}

void GrantTable::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  writer.put(last_handle_);
  writer.put(static_cast<std::uint32_t>(entries_.size()));
  for (const HeldGrant& entry : entries_) {
    const GrantRights rights = entry.grant.rights;
    writer.put(entry.handle);
    writer.put(entry.grant.first);
    writer.put(entry.grant.pages);
    writer.put(entry.grant.grantee);
    writer.put(
        static_cast<std::uint8_t>((rights.read ? kMayRead : 0) | (rights.write ? kMayWrite : 0)));
  }
}

Result<void> GrantTable::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the grants: other version"};
  }
  GrantTable table;
  table.last_handle_ = TRY(reader.get<GrantHandle>());
  const auto count = TRY(reader.get<std::uint32_t>());
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto handle = TRY(reader.get<GrantHandle>());
    Grant grant;
    grant.first = TRY(reader.get<Gfn>());
    grant.pages = TRY(reader.get<std::uint64_t>());
    grant.grantee = TRY(reader.get<GranteeId>());
    const auto rights = TRY(reader.get<std::uint8_t>());
    grant.rights = {(rights & kMayRead) != 0, (rights & kMayWrite) != 0};
    if (handle == GrantHandle::kNone || rights > (kMayRead | kMayWrite) ||
        table.find(handle) != table.entries_.end()) {
      return Error{Errc::kMalformed, 0, "state of the grants: impossible values"};
    }
    TRY(table.insert(handle, grant));
  }
  *this = std::move(table);
  return {};
}

}  // namespace bulkhead
