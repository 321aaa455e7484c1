// SPDX-License-Identifier: Apache-2.0
#include "host/audit_plan.h"

namespace bulkhead::host {

const char* to_string(MemoryState state) {
  switch (state) {
    case MemoryState::kOwned:
      return "owned";
    case MemoryState::kShared:
      return "shared";
    case MemoryState::kSealed:
      return "sealed";
    case MemoryState::kFree:
      return "free";
    case MemoryState::kScrubbing:
      break;
  }
  return "scrubbing";
}

const char* to_string(FindingKind kind) {
  switch (kind) {
    case FindingKind::kForeignMapping:
      return "foreign-mapping";
    case FindingKind::kMappedTwice:
      return "mapped-twice";
    case FindingKind::kUnexplainedMapping:
      return "unexplained-mapping";
    case FindingKind::kTwoPartitions:
      return "two-partitions";
    case FindingKind::kUnownedMapped:
      return "unowned-mapped";
    case FindingKind::kMerged:
      return "merged";
    case FindingKind::kSwapped:
      return "swapped";
    case FindingKind::kOpenHandle:
      return "open-handle";
    case FindingKind::kOwnerDead:
      break;
  }
  return "owner-dead";
}

std::string explain(const Finding& finding, std::string_view place_seen) {
  const std::string place(place_seen);
  const std::string process =
      "process " + std::to_string(finding.pid) + " (" + finding.command + ")";
  switch (finding.kind) {
    case FindingKind::kForeignMapping:
      return process + " maps it in " + place + ", and is not its owner";
    case FindingKind::kMappedTwice:
      return process + " owns it, but maps it once more in " + place;
    case FindingKind::kUnexplainedMapping:
      return "the kernel counts more mappings than any process's page tables show";
    case FindingKind::kTwoPartitions:
      return "it also belongs to " + place;
    case FindingKind::kUnownedMapped:
      return process + " maps it in " + place + ", although nobody owns it";
    case FindingKind::kMerged:
      return "the kernel merged it with equal pages of others (KSM)";
    case FindingKind::kSwapped:
      return "it is in swap, in plain text";
    case FindingKind::kOpenHandle:
      return process + " holds its memory file open: " + place;
    case FindingKind::kOwnerDead:
      break;
  }
  return "its monitor does not run any more";
}

}  // namespace bulkhead::host
