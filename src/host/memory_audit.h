// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/sysmacros.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "host/page_owners.h"
#include "host/page_tables.h"

// Compares who should hold memory with who does: the machine's page tables against a ledger, or
// against what each partition says of itself. It sees page tables of processes; not what the
// kernel, a device or a debugger's system call reads, nor descriptors on their way through a
// socket.

namespace bulkhead::host {

struct AuditPartition {
  std::string name;
  pid_t pid = 0;  // its monitor; 0: none is known
  uid_t uid = 0;
};

enum class MemoryState : std::uint8_t { kOwned, kShared, kSealed, kFree, kScrubbing };
const char* to_string(MemoryState state);

inline constexpr std::size_t kNoPartition = SIZE_MAX;

// A run of memory and what it is for: part of a file, or of physical memory (carved).
struct AuditRegion {
  std::optional<FileId> file = {};  // absent: `offset` is a physical address
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;
  MemoryState state = MemoryState::kOwned;
  std::size_t owner = kNoPartition;        // in AuditInput::partitions
  std::vector<std::size_t> grantees = {};  // kShared: who may map it, too
};

struct AuditInput {
  std::vector<AuditPartition> partitions;
  std::vector<AuditRegion> regions;
  // Processes that keep memory for all: they hold its files, and map what they scrub.
  std::vector<pid_t> keepers;
  // The device through which physical memory is mapped: /dev/mem.
  std::uint64_t physical_device = makedev(1, 1);
};

enum class FindingKind : std::uint8_t {
  kForeignMapping,      // a process that is not the owner maps it
  kMappedTwice,         // its owner maps it more than once
  kUnexplainedMapping,  // the kernel counts more mappings than processes have
  kTwoPartitions,       // two partitions hold the same page
  kUnownedMapped,       // free or being scrubbed, but mapped
  kMerged,              // KSM shares the page
  kSwapped,             // it left for the swap device, in plain text
  kOpenHandle,          // another process could map it at any time
  kOwnerDead,           // owned by a monitor that does not run
};
const char* to_string(FindingKind kind);

// What was found of one kind between one partition and one process.
struct Finding {
  FindingKind kind = FindingKind::kForeignMapping;
  std::size_t partition = kNoPartition;
  pid_t pid = 0;  // who did it; 0: nobody in particular
  std::string command;
  std::uint64_t pages = 0;
  std::vector<Pfn> frames;  // the first few of them
  Hva address;              // of the first, in process `pid`
  std::string why;          // a sentence for people
};

struct AuditReport {
  std::vector<Finding> findings;
  std::uint64_t processes = 0;
  std::uint64_t pages = 0;  // of partitions, that were looked for
  // Processes that would not be looked into: the audit is incomplete.
  std::vector<std::string> unreadable;

  bool clean() const { return findings.empty() && unreadable.empty(); }
};

// Told now and then how many of how many processes are done.
using AuditProgress = std::function<void(std::size_t done, std::size_t total)>;

// An Error when this kernel or this user cannot see page tables at all.
Result<AuditReport> audit_memory(const Root& root, const AuditInput& input,
                                 const AuditProgress& progress = {});

// Where the memory lies.
struct LocatedMemory {
  PageOwners pages;
  std::vector<std::size_t> partition_of;  // by OwnerId
};
Result<LocatedMemory> locate_memory(const Root& root, const AuditInput& input);

// Whether the caller sees physical page numbers: an Error says what is missing.
Result<void> can_see_page_tables(const Root& root);

}  // namespace bulkhead::host
