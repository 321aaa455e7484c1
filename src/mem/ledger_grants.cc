// SPDX-License-Identifier: Apache-2.0
// What a partition shares, and how all of it ends.
#include <algorithm>

#include "mem/ledger.h"

namespace bulkhead {

using ledger::Frame;
using ledger::Grant;

namespace {

Error refused(const char* what) {
  return Error{Errc::kPermission, 0, what};
}

bool in_frames_of(const PageRun& pages, std::uint32_t guest_frame) {
  return guest_frame >= ledger::first_guest_frame(pages).value() &&
         guest_frame < ledger::end_guest_frame(pages).value();
}

}  // namespace

// The frames are shared before the grant is there, and the grant is there in one store: nobody sees
// a grant of frames that are not marked.
Result<GrantId> Ledger::grant(PartitionId partition, const GrantRequest& request) {
  const std::uint16_t slot = TRY(live_slot(partition));
  std::uint16_t grantee = ledger::kHostTools;
  if (request.grantee) grantee = TRY(live_slot(*request.grantee));
  const auto rights = static_cast<std::uint8_t>(request.rights);
  if (grantee == slot || rights == 0 || rights > 3 || !ledger::is_page_range(request.pages)) {
    return Error{Errc::kInvalidArgument, 0, "a grant of nothing, or to oneself"};
  }
  const std::size_t index = TRY(free_grant(slot));
  for (FrameIndex at : TRY(shareable(slot, request.pages))) {
    Frame changed = frame(at);
    if (changed.state == FrameState::kShared) continue;
    changed.state = FrameState::kShared;
    store(at, changed);
  }
  const std::size_t word = ledger::grant_word(index);
  storage_->store(word + 1, request.pages.first.value());
  storage_->store(word + 2, request.pages.count);
  storage_->store(word + 3, 0);
  storage_->store(word, Grant{rights, slot, grantee}.encode());
  return GrantId(index);
}

Result<std::size_t> Ledger::free_grant(std::uint16_t slot) const {
  std::size_t mine = 0;
  std::size_t free = ledger::kMaxGrants;
  for (std::size_t i = ledger::kMaxGrants; i-- > 0;) {
    const std::uint64_t word = words()[ledger::grant_word(i)];
    if (word == 0) {
      free = i;
    } else if (Grant::decode(word).owner == slot) {
      ++mine;
    }
  }
  if (free == ledger::kMaxGrants || mine >= ledger::kMaxGrantsPerPartition) {
    return Error{Errc::kExhausted, 0, "there are too many grants"};
  }
  return free;
}

// The frames that the pages lie in, when all of them can be shared. A place is taken once, so as
// many frames as there are places are all of them.
Result<std::vector<FrameIndex>> Ledger::shareable(std::uint16_t slot, const PageRun& pages) const {
  std::vector<FrameIndex> found;
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame candidate = frame(FrameIndex(i));
    if (!candidate.held() || candidate.owner != slot) continue;
    if (candidate.guest_frame == ledger::kNotPlaced) continue;
    if (!in_frames_of(pages, candidate.guest_frame)) continue;
    if (candidate.state == FrameState::kSealed) return refused("a sealed page cannot be shared");
    found.push_back(FrameIndex(i));
  }
  const std::uint64_t wanted = ledger::end_guest_frame(pages) - ledger::first_guest_frame(pages);
  if (found.size() != wanted) return refused("the partition does not own all of these pages");
  return found;
}

Result<void> Ledger::revoke(PartitionId partition, GrantId grant) {
  const std::uint16_t slot = TRY(live_slot(partition));
  if (grant.value() >= ledger::kMaxGrants) return Error{Errc::kNotFound, 0, "no such grant"};
  const std::uint64_t word = words()[ledger::grant_word(grant.value())];
  if (word == 0) return Error{Errc::kNotFound, 0, "no such grant"};
  if (Grant::decode(word).owner != slot) return refused("the grant is another partition's");
  drop_grant(grant.value());
  settle_shared(slot);
  return {};
}

void Ledger::drop_grant(std::size_t grant) {
  storage_->store(ledger::grant_word(grant), 0);
}

PageRun Ledger::pages_of(std::size_t grant) const {
  const std::size_t at = ledger::grant_word(grant);
  return {PageIndex(words()[at + 1]), words()[at + 2]};
}

void Ledger::settle_shared(std::uint16_t slot) {
  std::vector<PageRun> granted;
  for (std::size_t i = 0; i < ledger::kMaxGrants; ++i) {
    const std::uint64_t word = words()[ledger::grant_word(i)];
    if (word != 0 && Grant::decode(word).owner == slot) granted.push_back(pages_of(i));
  }
  for (std::uint64_t i = 0; i < frames(); ++i) {
    Frame found = frame(FrameIndex(i));
    if (found.state != FrameState::kShared || found.owner != slot) continue;
    const auto covers = [&](const PageRun& pages) {
      return found.guest_frame != ledger::kNotPlaced && in_frames_of(pages, found.guest_frame);
    };
    if (std::any_of(granted.begin(), granted.end(), covers)) continue;
    found.state = FrameState::kOwned;
    store(FrameIndex(i), found);
  }
}

// Of a slot that is marked as dying. Each step may be the last that a killed writer did.
void Ledger::end_partition(std::uint16_t slot) {
  for (std::size_t i = 0; i < ledger::kMaxGrants; ++i) {
    const std::uint64_t word = words()[ledger::grant_word(i)];
    if (word == 0) continue;
    const Grant grant = Grant::decode(word);
    if (grant.owner != slot && grant.grantee != slot) continue;
    drop_grant(i);
    if (grant.owner != slot) settle_shared(grant.owner);
  }
  settle_shared(slot);
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame found = frame(FrameIndex(i));
    if (!found.held() || found.owner != slot) continue;
    store(FrameIndex(i), {.state = FrameState::kScrubbing, .head = found.head});
  }
  storage_->store(ledger::partition_word(slot),
                  ledger::slot_word(SlotState::kEmpty, id_of(slot).generation));
}

// After validation, which accepts nothing but what this puts in order.
void Ledger::recover() {
  recover_frames();
  std::vector<bool> shares(ledger::kMaxPartitions);
  for (std::uint64_t i = 0; i < frames(); ++i) {
    const Frame found = frame(FrameIndex(i));
    if (found.state == FrameState::kShared) shares[found.owner] = true;
  }
  for (std::size_t i = 0; i < ledger::kMaxPartitions; ++i) {
    const auto slot = static_cast<std::uint16_t>(i);
    if (shares[i]) settle_shared(slot);
    const std::size_t at = ledger::partition_word(i);
    const SlotState state = ledger::slot_state(words()[at]);
    if (state == SlotState::kDying) end_partition(slot);
    if (state == SlotState::kCreating) {
      storage_->store(at, ledger::slot_word(SlotState::kEmpty, id_of(slot).generation));
    }
  }
}

// Orphans: held frames that no head precedes. Behind a frame that is scrubbing they are the rest of
// the extent that was being released; behind a free one, of an extent that was being taken.
void Ledger::recover_frames() {
  const std::vector<PoolRecord> all = pools();
  for (const PoolRecord& pool : all) {
    Frame before;
    for (std::uint64_t i = 0; i < pool.run.frames; ++i) {
      const FrameIndex index = pool.run.first + i;
      Frame found = frame(index);
      if (found.held() && !found.head && !before.held()) {
        found = {.state = FrameState::kScrubbing, .head = before.state == FrameState::kFree};
        store(index, found);
      }
      before = found;
    }
  }
}

}  // namespace bulkhead
