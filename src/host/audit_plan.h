// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <vector>

#include "host/memory_audit.h"
#include "host/page_owners.h"

namespace bulkhead::host {

// What an audit expects: the regions in a form to look things up in.
class AuditPlan {
 public:
  // Memory with the same owner, state and grantee.
  struct Holder {
    std::size_t owner = kNoPartition;
    std::vector<std::size_t> grantees;
    MemoryState state = MemoryState::kOwned;
    auto operator<=>(const Holder&) const = default;
  };
  struct Region {
    std::uint64_t offset = 0;
    std::uint64_t size_bytes = 0;
    OwnerId holder = kNotWatched;
    bool contested = false;  // overlaps a region of another owner
  };

  // kExhausted when there are more holders than OwnerId has numbers.
  static Result<AuditPlan> create(const AuditInput& input);

  const Holder& holder(OwnerId id) const { return holders_[id]; }
  std::size_t holders() const { return holders_.size(); }
  const AuditPartition& partition(std::size_t index) const { return input_->partitions[index]; }
  const std::vector<AuditPartition>& partitions() const { return input_->partitions; }
  const std::vector<Region>& physical() const { return physical_; }

  // The regions of a file for which a process can say which pages they are; empty for others.
  std::vector<Region> regions(const FileId& file, pid_t pid) const;
  // Partitions with memory in that file, or in physical memory; kNoPartition for memory of nobody.
  const std::set<std::size_t>& owners(const FileId& file) const;
  const std::set<std::size_t>& physical_owners() const { return physical_owners_; }
  bool has_memory(std::size_t partition) const { return with_memory_.contains(partition); }
  // The files in which a partition has memory.
  std::vector<FileId> files_of(std::size_t partition) const;

  std::uint64_t physical_device() const { return input_->physical_device; }
  bool is_keeper(pid_t pid) const;
  bool is_monitor(std::size_t partition, pid_t pid) const;
  // Whether the ledger lets the process map such memory.
  bool may_map(const Holder& holder, pid_t pid) const;

 private:
  struct File {
    std::vector<Region> regions;  // by offset
    std::set<std::size_t> owners;
  };

  explicit AuditPlan(const AuditInput& input) : input_(&input) {}
  Result<OwnerId> holder_id(const AuditRegion& region);
  void find_contested();

  const AuditInput* input_;
  std::vector<Holder> holders_;
  std::map<Holder, OwnerId> ids_;
  std::map<FileId, File> files_;
  std::vector<Region> physical_;
  std::set<std::size_t> physical_owners_;
  std::set<std::size_t> with_memory_;
};

// Why a finding is one, as a sentence for people. `place`: where, in the process or partition that
// the finding is about.
std::string explain(const Finding& finding, std::string_view place);

}  // namespace bulkhead::host
