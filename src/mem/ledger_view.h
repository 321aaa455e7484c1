// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "mem/ledger_format.h"

namespace bulkhead {

struct PoolRecord {
  Backing backing = Backing::kMemfd;
  std::optional<unsigned> numa_node = std::nullopt;
  FrameRun run;                     // its place among the ledger's frames
  std::uint64_t physical_base = 0;  // kCarved: of its first frame

  bool operator==(const PoolRecord&) const = default;
};

struct PartitionRecord {
  PartitionId id;
  SlotState state = SlotState::kEmpty;
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat: tells a reused pid from the first
  std::string name;
};

struct FrameRecord {
  FrameState state = FrameState::kFree;
  bool head = false;
  std::optional<std::uint16_t> owner;  // a slot
  std::optional<GuestFrame> guest_frame;
};

struct GrantRecord {
  GrantId id;
  std::uint16_t owner = 0;
  std::optional<std::uint16_t> grantee;  // a slot; none: the host's tools
  Rights rights = Rights::kRead;
  PageRun pages;
};

// An extent, and who holds it.
struct HeldRun {
  FrameRun run;
  std::uint16_t owner = 0;
};

// How much a ledger must be in order.
enum class LedgerRule : std::uint8_t {
  kRecoverable,  // as a killed writer may leave it
  kSettled,      // between two changes
};

// Whether the words are a ledger that keeps every invariant. Bounded by the number of words.
Result<void> validate_ledger(std::span<const std::uint64_t> words, LedgerRule rule);

// Of words that are a valid ledger.
std::vector<PoolRecord> pool_records(std::span<const std::uint64_t> words);

// A ledger to look at: a copy of one, or Ledger::view(). Frames, slots and grants that a caller
// asks for must exist.
class LedgerView {
 public:
  LedgerView(LedgerView&&) = default;
  LedgerView& operator=(LedgerView&&) = default;

  // kMalformed with the first reason found, if the words are no ledger. Accepts what a killed
  // writer leaves (kRecoverable): check() tells.
  static Result<LedgerView> open(std::vector<std::uint64_t> words);
  // From the start of a file: /run/bulkheadd/ledger, or the daemon's snapshot.
  static Result<LedgerView> read(int fd);

  // Every invariant holds, and nothing is half-done.
  Result<void> check() const { return validate_ledger(words_, LedgerRule::kSettled); }
  // Whether others' partitions were left out.
  bool filtered() const;

  std::uint64_t frames() const { return words_[ledger::kFramesWord]; }
  std::vector<PoolRecord> pools() const { return pool_records(words_); }
  FrameRecord frame(FrameIndex index) const;
  // Those that are not empty, by slot.
  std::vector<PartitionRecord> partitions() const;
  std::vector<GrantRecord> grants() const;
  // Runs that were taken as one, ascending.
  std::vector<HeldRun> extents() const;
  std::uint64_t count(FrameState state) const;
  // Of one partition, in any of its states.
  std::uint64_t frames_of(std::uint16_t slot) const;

  std::span<const std::uint64_t> words() const { return words_; }

 private:
  friend class Ledger;  // whose words are valid
  explicit LedgerView(std::span<const std::uint64_t> words) : words_(words) {}
  explicit LedgerView(std::vector<std::uint64_t> words)
      : owned_(std::move(words)), words_(owned_) {}

  std::vector<std::uint64_t> owned_;      // empty: the words are a Ledger's
  std::span<const std::uint64_t> words_;  // a move leaves them where they are
};

// What a user may see who is not root: its own partitions, and of others only that a frame is in
// use. The words are a valid ledger.
std::vector<std::uint64_t> filtered_copy(std::span<const std::uint64_t> words, std::uint32_t uid);

}  // namespace bulkhead
