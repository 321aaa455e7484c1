// SPDX-License-Identifier: Apache-2.0
// What makes words a ledger. Shares the format with ledger.cc, but none of its code: it judges that
// code's work, too.
#include <algorithm>
#include <array>
#include <cstring>

#include "mem/ledger_view.h"

namespace bulkhead {
namespace {

using ledger::Frame;
using ledger::Grant;
using ledger::high_half;
using ledger::low_half;

constexpr std::uint64_t kMaxPhysical = std::uint64_t{1} << 52;
constexpr std::uint32_t kMaxNode = 1024;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

// A frame by its place in its owner's memory: sorts by owner, then by place.
struct Placed {
  std::uint64_t key = 0;
  FrameIndex frame;

  static std::uint64_t make_key(std::uint16_t owner, std::uint64_t guest_frame) {
    return (std::uint64_t{owner} << 32) | guest_frame;
  }
  bool operator<(const Placed& other) const { return key < other.key; }
};

class Validator {
 public:
  Validator(std::span<const std::uint64_t> words, LedgerRule rule)
      : words_(words), settled_(rule == LedgerRule::kSettled) {}

  Result<void> run() {
    TRY(header());
    TRY(pools());
    for (std::size_t slot = 0; slot < ledger::kMaxPartitions; ++slot) TRY(partition(slot));
    TRY(frames());
    TRY(places());
    return grants();
  }

 private:
  Result<void> header();
  Result<void> pools();
  Result<void> pool(std::size_t index);
  Result<void> partition(std::size_t slot) const;
  Result<void> name(std::size_t slot) const;
  Result<void> frames();
  Result<void> frame(FrameIndex index);
  Result<void> held(FrameIndex index, const Frame& frame, const Frame& before);
  Result<void> orphan(FrameIndex index, const Frame& frame, const Frame& before);
  Result<void> places();
  Result<void> grants();
  Result<void> grant(std::size_t index, std::span<std::uint16_t> counts);
  Result<void> grant_parties(const Grant& grant) const;
  Result<void> granted_frames(const Grant& grant, const PageRun& range);
  Result<void> shared_is_granted() const;

  bool all_zero(std::size_t from, std::size_t to) const {
    return std::all_of(words_.begin() + static_cast<std::ptrdiff_t>(from),
                       words_.begin() + static_cast<std::ptrdiff_t>(to),
                       [](std::uint64_t word) { return word == 0; });
  }
  bool filtered() const {
    return (high_half(words_[ledger::kVersionWord]) & ledger::kFlagFiltered) != 0;
  }
  // May have frames and grants.
  bool has_user(std::size_t slot) const {
    if (slot >= ledger::kMaxPartitions) return false;
    return ledger::slot_state(words_[ledger::partition_word(slot)]) >= SlotState::kLive;
  }
  bool begins_pool(FrameIndex index) const {
    return std::find(pool_starts_.begin(), pool_starts_.end(), index.value()) != pool_starts_.end();
  }

  std::span<const std::uint64_t> words_;
  bool settled_;
  std::vector<std::uint64_t> pool_starts_;
  std::vector<PoolRecord> carved_;
  bool orphan_run_ = false;      // the frame before was one that a killed writer left behind
  std::vector<Placed> placed_;   // sorted by places()
  std::vector<bool> justified_;  // by its place in placed_: some grant covers it
};

Result<void> Validator::header() {
  if (words_.size() < ledger::words_for(1)) return malformed("the ledger is too short");
  if (words_[0] != ledger::kMagic) return malformed("this is no ledger: the magic is missing");
  const std::uint64_t version = words_[ledger::kVersionWord];
  if (low_half(version) != ledger::kVersion) {
    return Error{Errc::kUnsupported, 0, "the ledger has another version than this program"};
  }
  if ((high_half(version) & ~ledger::kFlagFiltered) != 0) return malformed("unknown ledger flags");
  const std::uint64_t frames = words_[ledger::kFramesWord];
  if (frames == 0 || frames > ledger::kMaxFrames) return malformed("impossible number of frames");
  if (words_.size() != ledger::words_for(frames)) {
    return malformed("the ledger's length does not fit its number of frames");
  }
  if (words_[ledger::kPoolsWord] == 0 || words_[ledger::kPoolsWord] > ledger::kMaxPools) {
    return malformed("impossible number of pools");
  }
  const std::size_t tail = ledger::kPoolTable + words_[ledger::kPoolsWord] * ledger::kPoolWords;
  if (!all_zero(ledger::kPoolsWord + 1, ledger::kPoolTable) ||
      !all_zero(tail, ledger::kPartitionTable)) {
    return malformed("reserved words of the header are not zero");
  }
  return {};
}

Result<void> Validator::pools() {
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < words_[ledger::kPoolsWord]; ++i) {
    const std::uint64_t* word = &words_[ledger::kPoolTable + i * ledger::kPoolWords];
    if (word[1] != next) return malformed("the pools do not lie one behind the other");
    if (word[2] == 0 || !range_fits(word[1], word[2], words_[ledger::kFramesWord])) {
      return malformed("a pool does not lie within the ledger");
    }
    pool_starts_.push_back(next);
    next += word[2];
    TRY(pool(i));
  }
  if (next != words_[ledger::kFramesWord]) return malformed("frames that belong to no pool");
  return {};
}

Result<void> Validator::pool(std::size_t index) {
  const std::uint64_t* word = &words_[ledger::kPoolTable + index * ledger::kPoolWords];
  if (low_half(word[0]) > static_cast<std::uint32_t>(Backing::kCarved)) {
    return malformed("a pool of an unknown kind");
  }
  const std::uint32_t node = high_half(word[0]);
  if (node != ledger::kNoNode && node >= kMaxNode) return malformed("an impossible NUMA node");
  if (static_cast<Backing>(low_half(word[0])) != Backing::kCarved) {
    return word[3] == 0 ? Result<void>() : malformed("only a carved pool has a physical address");
  }
  if (word[3] % kFrameSize != 0 || !range_fits(word[3], word[2] * kFrameSize, kMaxPhysical)) {
    return malformed("an impossible physical address of a carved pool");
  }
  const PoolRecord record{.backing = Backing::kCarved,
                          .numa_node = std::nullopt,
                          .run = {FrameIndex(word[3] / kFrameSize), word[2]},
                          .physical_base = word[3]};
  for (const PoolRecord& other : carved_) {
    if (record.run.overlaps(other.run)) return malformed("two carved pools overlap");
  }
  carved_.push_back(record);
  return {};
}

Result<void> Validator::partition(std::size_t slot) const {
  const std::size_t at = ledger::partition_word(slot);
  if ((low_half(words_[at]) & ~3U) != 0) return malformed("unknown bits in a partition's state");
  switch (ledger::slot_state(words_[at])) {
    case SlotState::kEmpty:  // what its last user left there means nothing
      return {};
    case SlotState::kCreating:
      return settled_ ? malformed("a partition is half made") : Result<void>();
    case SlotState::kDying:
      if (settled_) return malformed("a partition is half removed");
      break;
    case SlotState::kLive:
      break;
  }
  if (words_[at + 3] != 0 || !all_zero(at + 12, at + ledger::kPartitionWords)) {
    return malformed("reserved words of a partition are not zero");
  }
  if (high_half(words_[at + 1]) == 0) return malformed("a partition without a process");
  return name(slot);
}

Result<void> Validator::name(std::size_t slot) const {
  std::array<char, ledger::kNameWords * sizeof(std::uint64_t)> text;
  std::memcpy(text.data(), &words_[ledger::partition_word(slot) + ledger::kNameWord], text.size());
  const auto end = std::find(text.begin(), text.end(), '\0');
  const auto length = static_cast<std::size_t>(end - text.begin());
  const bool padded = std::all_of(end, text.end(), [](char c) { return c == '\0'; });
  if (!padded || !ledger::is_partition_name({text.data(), length})) {
    return malformed("a partition has an impossible name");
  }
  return {};
}

Result<void> Validator::frames() {
  for (std::uint64_t i = 0; i < words_[ledger::kFramesWord]; ++i) TRY(frame(FrameIndex(i)));
  return {};
}

Result<void> Validator::frame(FrameIndex index) {
  const std::uint64_t word = words_[ledger::frame_word(index)];
  const Frame frame = Frame::decode(word);
  if (frame.encode() != word) return malformed("unknown bits in a frame's word");
  // Nothing joins frames of two pools: a pool's first frame has a free one before it, so to say.
  Frame before;
  if (!begins_pool(index)) before = Frame::decode(words_[ledger::frame_word(index) - 1]);
  switch (frame.state) {
    case FrameState::kFree:
      orphan_run_ = false;
      return word == 0 ? Result<void>() : malformed("a free frame has an owner");
    case FrameState::kScrubbing:
      orphan_run_ = false;
      if (frame.owner != 0 || frame.guest_frame != 0) {
        return malformed("a frame that is scrubbing has an owner");
      }
      if (!frame.head && before.state != FrameState::kScrubbing) {
        return malformed("a run that is scrubbing has no beginning");
      }
      return {};
    case FrameState::kOwned:
    case FrameState::kSealed:
    case FrameState::kShared:
      return held(index, frame, before);
    case FrameState::kWithheld:
      orphan_run_ = false;
      if (filtered() && word == Frame{.state = FrameState::kWithheld}.encode()) return {};
      break;
  }
  return malformed("a frame in an unknown state");
}

Result<void> Validator::held(FrameIndex index, const Frame& frame, const Frame& before) {
  if (!has_user(frame.owner)) return malformed("a frame's owner is no partition");
  if (frame.guest_frame != ledger::kNotPlaced) {
    if (frame.guest_frame >= ledger::kMaxGuestFrames) return malformed("an impossible guest frame");
    placed_.push_back({Placed::make_key(frame.owner, frame.guest_frame), index});
  }
  if (frame.head) {
    orphan_run_ = false;
    return {};
  }
  const bool joined = before.held() && before.owner == frame.owner && !orphan_run_;
  if (joined) return {};
  return orphan(index, frame, before);
}

// An extent's head is stored last when it is taken, and first when it is released. So what a killed
// writer left of it begins behind a free frame, or one that is scrubbing.
Result<void> Validator::orphan(FrameIndex index, const Frame& frame, const Frame& before) {
  const bool goes_on = orphan_run_ && before.held() && before.owner == frame.owner;
  const bool begins = !begins_pool(index) &&
                      (before.state == FrameState::kFree || before.state == FrameState::kScrubbing);
  if (settled_ || frame.state == FrameState::kShared || (!goes_on && !begins)) {
    return malformed("a frame belongs to no extent");
  }
  orphan_run_ = true;
  return {};
}

Result<void> Validator::places() {
  std::sort(placed_.begin(), placed_.end());
  const auto twice = [](const Placed& a, const Placed& b) { return a.key == b.key; };
  if (std::adjacent_find(placed_.begin(), placed_.end(), twice) != placed_.end()) {
    return malformed("two frames have one place in a partition's memory");
  }
  justified_.assign(placed_.size(), false);
  return {};
}

Result<void> Validator::grants() {
  std::array<std::uint16_t, ledger::kMaxPartitions> counts{};
  for (std::size_t i = 0; i < ledger::kMaxGrants; ++i) TRY(grant(i, counts));
  return settled_ ? shared_is_granted() : Result<void>();
}

Result<void> Validator::grant(std::size_t index, std::span<std::uint16_t> counts) {
  const std::uint64_t* word = &words_[ledger::grant_word(index)];
  if (word[0] == 0) return {};
  const Grant grant = Grant::decode(word[0]);
  if (grant.encode() != word[0] || grant.rights == 0) return malformed("unknown bits in a grant");
  if (word[3] != 0) return malformed("the reserved word of a grant is not zero");
  TRY(grant_parties(grant));
  if (++counts[grant.owner] > ledger::kMaxGrantsPerPartition) {
    return malformed("a partition has too many grants");
  }
  const PageRun range{PageIndex(word[1]), word[2]};
  if (!ledger::is_page_range(range)) return malformed("a grant of impossible pages");
  return granted_frames(grant, range);
}

// A filtered copy does not show who a grantee is.
Result<void> Validator::grant_parties(const Grant& grant) const {
  if (!has_user(grant.owner)) return malformed("a grant by nobody");
  if (grant.grantee == ledger::kHostTools) return {};
  if (grant.grantee >= ledger::kMaxPartitions || grant.grantee == grant.owner ||
      (!filtered() && !has_user(grant.grantee))) {
    return malformed("a grant to nobody");
  }
  return {};
}

Result<void> Validator::granted_frames(const Grant& grant, const PageRun& range) {
  const std::uint64_t first = ledger::first_guest_frame(range).value();
  const std::uint64_t count = ledger::end_guest_frame(range).value() - first;
  auto at = std::lower_bound(placed_.begin(), placed_.end(),
                             Placed{Placed::make_key(grant.owner, first), FrameIndex(0)});
  for (std::uint64_t i = 0; i < count; ++i, ++at) {
    if (at == placed_.end() || at->key != Placed::make_key(grant.owner, first + i)) {
      return malformed("a grant of pages that its owner does not have");
    }
    if (Frame::decode(words_[ledger::frame_word(at->frame)]).state != FrameState::kShared) {
      return malformed("a grant of pages that are not shared");
    }
    justified_[static_cast<std::size_t>(at - placed_.begin())] = true;
  }
  return {};
}

Result<void> Validator::shared_is_granted() const {
  for (std::uint64_t i = 0; i < words_[ledger::kFramesWord]; ++i) {
    const Frame frame = Frame::decode(words_[ledger::frame_word(FrameIndex(i))]);
    if (frame.state == FrameState::kShared && frame.guest_frame == ledger::kNotPlaced) {
      return malformed("a frame is shared that has no place");
    }
  }
  for (std::size_t i = 0; i < placed_.size(); ++i) {
    const std::uint64_t word = words_[ledger::frame_word(placed_[i].frame)];
    if (Frame::decode(word).state == FrameState::kShared && !justified_[i]) {
      return malformed("a frame is shared with nobody");
    }
  }
  return {};
}

}  // namespace

Result<void> validate_ledger(std::span<const std::uint64_t> words, LedgerRule rule) {
  return Validator(words, rule).run();
}

}  // namespace bulkhead
