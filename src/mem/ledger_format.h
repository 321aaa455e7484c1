// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/address.h"
#include "mem/frame_run.h"
#include "mem/frame_source.h"

// The bytes of a ledger, as little-endian 64-bit words: docs/formats/ledger.md. A ledger is read by
// other programs than the one that writes it, and outlives both.

namespace bulkhead {

enum class FrameState : std::uint8_t {
  kFree = 0,       // nobody's, and all zeroes
  kOwned = 1,      // mapped by its owner only
  kSealed = 2,     // owned; its content has left, encrypted
  kShared = 3,     // owned, and some of its pages are granted to others
  kScrubbing = 4,  // nobody's, and may hold what its last owner wrote
  kWithheld = 7,   // only in a filtered copy: somebody else's
};

enum class SlotState : std::uint8_t { kEmpty = 0, kCreating = 1, kLive = 2, kDying = 3 };

const char* to_string(FrameState state);
const char* to_string(Rights rights);

// A partition's place in the ledger, and which of its successive users is meant.
struct PartitionId {
  std::uint16_t slot = 0;
  std::uint32_t generation = 0;

  bool operator==(const PartitionId&) const = default;
};

// A 2 MiB frame of a partition's own memory: its guest-physical address / 2 MiB.
using GuestFrame = Address<struct GuestFrameKind>;

namespace ledger {

inline constexpr std::uint64_t kMagic = 0x5245'4744'454c'4842;  // "BHLEDGER"
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kFlagFiltered = 1;
inline constexpr std::size_t kMaxPools = 16;
inline constexpr std::size_t kMaxPartitions = 1024;
inline constexpr std::size_t kMaxGrants = 4096;
inline constexpr std::size_t kMaxGrantsPerPartition = 64;  // bounds the work of a revocation
inline constexpr std::uint64_t kMaxFrames = std::uint64_t{1} << 22;  // 8 TiB
inline constexpr std::uint64_t kMaxGuestFrames = std::uint64_t{1} << 31;
inline constexpr std::size_t kMaxNameBytes = 63;
inline constexpr std::uint64_t kPagesPerFrame = kFrameSize / kPageSize;

// Places, in words.
inline constexpr std::size_t kVersionWord = 1;
inline constexpr std::size_t kFramesWord = 2;
inline constexpr std::size_t kPoolsWord = 3;
inline constexpr std::size_t kPoolTable = 8;
inline constexpr std::size_t kPoolWords = 4;
inline constexpr std::size_t kPartitionTable = 512;
inline constexpr std::size_t kPartitionWords = 16;
inline constexpr std::size_t kNameWord = 4;  // of a partition
inline constexpr std::size_t kNameWords = 8;
inline constexpr std::size_t kGrantTable = kPartitionTable + kMaxPartitions * kPartitionWords;
inline constexpr std::size_t kGrantWords = 4;
inline constexpr std::size_t kFrameTable = kGrantTable + kMaxGrants * kGrantWords;

constexpr std::size_t words_for(std::uint64_t frames) {
  return kFrameTable + static_cast<std::size_t>(frames);
}
constexpr std::size_t partition_word(std::size_t slot) {
  return kPartitionTable + slot * kPartitionWords;
}
constexpr std::size_t grant_word(std::size_t index) {
  return kGrantTable + index * kGrantWords;
}
constexpr std::size_t frame_word(FrameIndex frame) {
  return kFrameTable + static_cast<std::size_t>(frame.value());
}

inline constexpr std::uint32_t kNoNode = ~std::uint32_t{0};
inline constexpr std::uint32_t kNotPlaced = ~std::uint32_t{0};
inline constexpr std::uint16_t kHostTools = 0xffff;  // in place of a grantee's slot

constexpr std::uint32_t low_half(std::uint64_t word) {
  return static_cast<std::uint32_t>(word);
}
constexpr std::uint32_t high_half(std::uint64_t word) {
  return static_cast<std::uint32_t>(word >> 32);
}
constexpr std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return low | (std::uint64_t{high} << 32);
}

// A frame's word: bits 0-2 state, 3 head, 16-31 owner, 32-63 guest frame.
struct Frame {
  FrameState state = FrameState::kFree;
  bool head = false;  // the first of a run that was taken as one
  std::uint16_t owner = 0;
  std::uint32_t guest_frame = 0;

  bool operator==(const Frame&) const = default;
  // Owned by a partition, in one way or another.
  bool held() const { return state >= FrameState::kOwned && state <= FrameState::kShared; }
  constexpr std::uint64_t encode() const {
    return static_cast<std::uint64_t>(state) | (head ? 8U : 0U) | (std::uint64_t{owner} << 16) |
           (std::uint64_t{guest_frame} << 32);
  }
  static constexpr Frame decode(std::uint64_t word) {
    return {.state = static_cast<FrameState>(word & 7),
            .head = (word & 8) != 0,
            .owner = static_cast<std::uint16_t>(word >> 16),
            .guest_frame = high_half(word)};
  }
};

// A grant's first word: bits 0-1 rights (0: no grant), 16-31 owner, 32-47 grantee.
struct Grant {
  std::uint8_t rights = 0;
  std::uint16_t owner = 0;
  std::uint16_t grantee = 0;

  constexpr std::uint64_t encode() const {
    return rights | (std::uint64_t{owner} << 16) | (std::uint64_t{grantee} << 32);
  }
  static constexpr Grant decode(std::uint64_t word) {
    return {.rights = static_cast<std::uint8_t>(word & 3),
            .owner = static_cast<std::uint16_t>(word >> 16),
            .grantee = static_cast<std::uint16_t>(word >> 32)};
  }
};

constexpr SlotState slot_state(std::uint64_t word) {
  return static_cast<SlotState>(word & 3);
}
constexpr std::uint64_t slot_word(SlotState state, std::uint32_t generation) {
  return join(static_cast<std::uint32_t>(state), generation);
}

// The frames that the pages lie in. Only of a range that validate() or grant() has bounded.
constexpr GuestFrame first_guest_frame(const PageRun& range) {
  return GuestFrame(range.first.value() / kPagesPerFrame);
}
constexpr GuestFrame end_guest_frame(const PageRun& range) {
  return GuestFrame((range.first.value() + range.count - 1) / kPagesPerFrame + 1);
}
constexpr bool is_page_range(const PageRun& range) {
  return range.count != 0 &&
         range_fits(range.first.value(), range.count, kMaxGuestFrames * kPagesPerFrame);
}

// 1 to 63 of A-Z a-z 0-9 - _ . and no '-' or '.' at the start, as everywhere.
bool is_partition_name(std::string_view name);

}  // namespace ledger
}  // namespace bulkhead
