// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "mem/page_vault.h"
#include "seal/medium.h"
#include "seal/page_codec.h"
#include "seal/session_table.h"
#include "seal/slot_map.h"

namespace bulkhead {

// Sealed blocks of 4 KiB on a medium: what pages and the tree's nodes have in common. Blocks are
// written once, each to a free place, and known by their entries. Thread-safe where its parts are.
class BlockStore {
 public:
  struct Options {
    Medium& medium;
    PageCodec* codec;
    std::uint64_t reserved_bytes;  // at the medium's beginning, not for blocks
    std::uint64_t initial_bytes;   // may hold blocks already
    SessionTable::Options sessions;
  };
  explicit BlockStore(Options options);

  // The new block is not part of the state being worked on before replaced() says so.
  Result<TreeEntry> write(SealPlace place, ConstPageBytes page);
  // `after`, just written, is part of that state now, and `before` no longer. Either may be absent.
  void replaced(const TreeEntry& before, const TreeEntry& after);
  // A block just written that was not needed after all.
  void discard(const TreeEntry& entry);
  // kMalformed or kTruncated, and the page wiped, if it is not what the entry stands for.
  Result<void> read(SealPlace place, const TreeEntry& entry, PageBytes page);
  // A block of a store being opened. kMalformed if the entry cannot be.
  Result<void> adopt(const TreeEntry& entry);
  void trim();

  SessionTable& sessions() { return sessions_; }
  SlotMap& slots() { return slots_; }

 private:
  Result<SlotIndex> allocate(std::uint64_t units);
  Result<void> grow(std::uint64_t units_before);
  Result<TreeEntry> write_text(const PageSealer::Text& text);
  Result<TreeEntry> write_elsewhere(const PageSealer::Text& text);
  Result<TreeEntry> seal_into(SlotIndex slot, const PageSealer::Text& text);
  Result<void> unpack(std::span<const std::byte> packed, PageBytes page);

  Medium& medium_;
  PageCodec* codec_;
  SessionTable sessions_;
  SlotMap slots_;
  Mutex growing_;
};

}  // namespace bulkhead
