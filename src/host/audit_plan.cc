// SPDX-License-Identifier: Apache-2.0
#include "host/audit_plan.h"

#include <algorithm>

namespace bulkhead::host {

Result<AuditPlan> AuditPlan::create(const AuditInput& input) {
  AuditPlan plan(input);
  for (const AuditRegion& region : input.regions) {
    const Region planned{.offset = region.offset,
                         .size_bytes = region.size_bytes,
                         .holder = TRY(plan.holder_id(region))};
    plan.with_memory_.insert(region.owner);
    if (region.file) {
      plan.files_[*region.file].regions.push_back(planned);
      plan.files_[*region.file].owners.insert(region.owner);
    } else {
      plan.physical_.push_back(planned);
      plan.physical_owners_.insert(region.owner);
    }
  }
  plan.find_contested();
  return plan;
}

Result<OwnerId> AuditPlan::holder_id(const AuditRegion& region) {
  const Holder holder{.owner = region.owner, .grantees = region.grantees, .state = region.state};
  const auto [entry, added] = ids_.try_emplace(holder, static_cast<OwnerId>(holders_.size()));
  if (added) {
    if (holders_.size() == kNotWatched) return Error{Errc::kExhausted, 0, "too many owners"};
    holders_.push_back(holder);
  }
  return entry->second;
}

void AuditPlan::find_contested() {
  for (auto& [id, file] : files_) {
    std::ranges::sort(file.regions, {}, &Region::offset);
    for (std::size_t i = 0; i < file.regions.size(); ++i) {
      Region& region = file.regions[i];
      for (std::size_t j = i + 1; j < file.regions.size(); ++j) {
        Region& other = file.regions[j];
        if (other.offset - region.offset >= region.size_bytes) break;
        if (holder(other.holder).owner == holder(region.holder).owner) continue;
        region.contested = other.contested = true;
      }
    }
  }
}

// Of memory that two partitions claim, each tells about its own: so both claims reach the pages.
std::vector<AuditPlan::Region> AuditPlan::regions(const FileId& file, pid_t pid) const {
  const auto found = files_.find(file);
  if (found == files_.end()) return {};
  const auto belongs = [&](const Region& region) {
    const std::size_t owner = holder(region.holder).owner;
    return owner != kNoPartition && is_monitor(owner, pid);
  };
  std::vector<Region> regions = found->second.regions;
  const bool claims = std::ranges::any_of(
      regions, [&](const Region& region) { return region.contested && belongs(region); });
  if (claims) {
    std::erase_if(regions,
                  [&](const Region& region) { return region.contested && !belongs(region); });
  }
  return regions;
}

const std::set<std::size_t>& AuditPlan::owners(const FileId& file) const {
  static const std::set<std::size_t> kNone;
  const auto found = files_.find(file);
  return found == files_.end() ? kNone : found->second.owners;
}

std::vector<FileId> AuditPlan::files_of(std::size_t partition) const {
  std::vector<FileId> files;
  for (const auto& [id, file] : files_) {
    if (file.owners.contains(partition)) files.push_back(id);
  }
  return files;
}

bool AuditPlan::is_keeper(pid_t pid) const {
  return std::ranges::find(input_->keepers, pid) != input_->keepers.end();
}

bool AuditPlan::is_monitor(std::size_t partition, pid_t pid) const {
  return partition < input_->partitions.size() && input_->partitions[partition].pid == pid;
}

// Only a shared frame may be mapped by its grantee, and only scrubbing takes a mapping of the
// keeper.
bool AuditPlan::may_map(const Holder& holder, pid_t pid) const {
  if (holder.state == MemoryState::kScrubbing) return is_keeper(pid);
  if (holder.owner == kNoPartition) return false;
  return is_monitor(holder.owner, pid) ||
         (holder.state == MemoryState::kShared &&
          std::ranges::any_of(holder.grantees,
                              [&](std::size_t grantee) { return is_monitor(grantee, pid); }));
}

}  // namespace bulkhead::host
