// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <ostream>
#include <tuple>
#include <utility>
#include <vector>

#include "mem/ledger.h"

// A second opinion on what a ledger may do: written from the rules, without bits, and without any
// code of the ledger but its view.

namespace bulkhead {

enum class Act : std::uint8_t {
  kCreate,
  kEnd,
  kTake,
  kPlace,
  kRelease,
  kScrubbed,
  kSeal,
  kUnseal,
  kGrant,
  kRevoke,
};

struct Operation {
  Act act = Act::kCreate;
  std::uint16_t slot = 0;     // who does it
  std::uint64_t first = 0;    // frame; kTake: pool; kRevoke: grant
  std::uint64_t count = 0;    // frames; kGrant: pages
  std::uint64_t place = 0;    // guest frame; kGrant: page
  std::uint16_t grantee = 0;  // kHostTools, or a slot
  bool stale = false;         // by an identity of an earlier generation
};

inline std::ostream& operator<<(std::ostream& out, const Operation& op) {
  return out << "act=" << static_cast<int>(op.act) << " slot=" << op.slot << " first=" << op.first
             << " count=" << op.count << " place=" << op.place << " grantee=" << op.grantee
             << " stale=" << op.stale;
}

struct Model {
  struct Cell {
    FrameState state = FrameState::kFree;
    int owner = -1;
    std::int64_t place = -1;
    bool head = false;
    auto operator<=>(const Cell&) const = default;
  };
  using Share = std::tuple<int, int, std::uint64_t, std::uint64_t>;  // owner, grantee, page, pages

  std::vector<Cell> cells;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pools;  // first, frames
  std::map<int, bool> live;
  std::map<std::uint64_t, Share> grants;

  bool operator==(const Model& other) const {
    return cells == other.cells && live == other.live && grants == other.grants;
  }

  static Model of(const LedgerView& view) {
    Model model;
    for (const PoolRecord& pool : view.pools()) {
      model.pools.emplace_back(pool.run.first.value(), pool.run.frames);
    }
    for (std::uint64_t i = 0; i < view.frames(); ++i) {
      const FrameRecord frame = view.frame(FrameIndex(i));
      model.cells.push_back(
          {frame.state, frame.owner ? *frame.owner : -1,
           frame.guest_frame ? static_cast<std::int64_t>(frame.guest_frame->value()) : -1,
           frame.head});
    }
    for (const PartitionRecord& partition : view.partitions()) {
      if (partition.state == SlotState::kLive) model.live[partition.id.slot] = true;
    }
    for (const GrantRecord& grant : view.grants()) {
      model.grants[grant.id.value()] = {grant.owner, grant.grantee ? *grant.grantee : -1,
                                        grant.pages.first.value(), grant.pages.count};
    }
    return model;
  }

  static bool is_held(const Cell& cell) { return cell.owner >= 0; }
  bool all(std::uint64_t first, std::uint64_t count, auto&& holds) const {
    if (count == 0 || first > cells.size() || count > cells.size() - first) return false;
    return std::all_of(cells.begin() + static_cast<std::ptrdiff_t>(first),
                       cells.begin() + static_cast<std::ptrdiff_t>(first + count), holds);
  }
  // The length of what was taken, or released, as one from here on.
  std::uint64_t length_at(std::uint64_t head) const {
    std::uint64_t end = head + 1;
    while (end < cells.size() && !cells[end].head && cells[end].state != FrameState::kFree &&
           is_held(cells[end]) == is_held(cells[head]) && cells[end].owner == cells[head].owner) {
      ++end;
    }
    return end - head;
  }
  static bool touches(const Share& share, int owner, std::int64_t place) {
    const auto& [from, to, page, pages] = share;
    return from == owner && place >= static_cast<std::int64_t>(page / 512) &&
           place <= static_cast<std::int64_t>((page + pages - 1) / 512);
  }
  void settle() {
    for (Cell& cell : cells) {
      if (cell.state != FrameState::kShared) continue;
      const bool granted = std::any_of(grants.begin(), grants.end(), [&](const auto& entry) {
        return touches(entry.second, cell.owner, cell.place);
      });
      if (!granted) cell.state = FrameState::kOwned;
    }
  }
  std::uint64_t longest_free(std::uint64_t pool) const {
    std::uint64_t best = 0;
    std::uint64_t length = 0;
    for (std::uint64_t i = 0; i < pools[pool].second; ++i) {
      length = cells[pools[pool].first + i].state == FrameState::kFree ? length + 1 : 0;
      best = std::max(best, length);
    }
    return best;
  }

  // Whether the rules allow it. kTake and kGrant: `chosen` is what the ledger picked.
  bool apply(const Operation& op, std::uint64_t chosen) {
    if (op.act == Act::kCreate) return live[static_cast<int>(chosen)] = true;
    if (op.act == Act::kScrubbed) return scrub(op);
    if (op.stale || !live.contains(op.slot)) return false;
    switch (op.act) {
      case Act::kEnd:
        return end(op);
      case Act::kTake:
        return take(op, chosen);
      case Act::kPlace:
        return set_places(op);
      case Act::kRelease:
        return release(op);
      case Act::kSeal:
        return change(op, FrameState::kOwned, FrameState::kSealed);
      case Act::kUnseal:
        return change(op, FrameState::kSealed, FrameState::kOwned);
      case Act::kGrant:
        return grant(op, chosen);
      case Act::kRevoke:
        return revoke(op);
      default:
        return false;
    }
  }

  bool scrub(const Operation& op) {
    const bool waits =
        all(op.first, op.count, [](const Cell& c) { return c.state == FrameState::kScrubbing; });
    if (!waits || !cells[op.first].head || length_at(op.first) != op.count) return false;
    for (std::uint64_t i = 0; i < op.count; ++i) cells[op.first + i] = {};
    return true;
  }
  bool end(const Operation& op) {
    std::erase_if(grants, [&](const auto& entry) {
      return std::get<0>(entry.second) == op.slot || std::get<1>(entry.second) == op.slot;
    });
    settle();
    for (Cell& cell : cells) {
      if (cell.owner == op.slot) cell = {FrameState::kScrubbing, -1, -1, cell.head};
    }
    return live.erase(op.slot) == 1;
  }
  bool take(const Operation& op, std::uint64_t chosen) {
    if (op.first >= pools.size() || op.count == 0) return false;
    if (op.count > longest_free(op.first)) return false;
    const auto [first, frames] = pools[op.first];
    const bool inside = chosen >= first && chosen + op.count <= first + frames;
    if (!inside || !all(chosen, op.count, [](const Cell& c) { return c == Cell{}; })) return false;
    for (std::uint64_t i = 0; i < op.count; ++i) {
      cells[chosen + i] = {FrameState::kOwned, op.slot, -1, i == 0};
    }
    return true;
  }
  bool set_places(const Operation& op) {
    const auto ready = [&](const Cell& c) {
      return c.owner == op.slot && c.state == FrameState::kOwned && c.place < 0;
    };
    if (!all(op.first, op.count, ready)) return false;
    for (const Cell& cell : cells) {
      const auto from = static_cast<std::int64_t>(op.place);
      if (cell.owner == op.slot && cell.place >= from &&
          cell.place < from + static_cast<std::int64_t>(op.count)) {
        return false;
      }
    }
    for (std::uint64_t i = 0; i < op.count; ++i) {
      cells[op.first + i].place = static_cast<std::int64_t>(op.place + i);
    }
    return true;
  }
  bool release(const Operation& op) {
    const auto leaves = [&](const Cell& c) {
      return c.owner == op.slot && c.state != FrameState::kShared;
    };
    if (!all(op.first, op.count, leaves) || !cells[op.first].head) return false;
    if (length_at(op.first) != op.count) return false;
    for (std::uint64_t i = 0; i < op.count; ++i) {
      cells[op.first + i] = {FrameState::kScrubbing, -1, -1, i == 0};
    }
    return true;
  }
  bool change(const Operation& op, FrameState from, FrameState to) {
    const auto fits = [&](const Cell& c) { return c.owner == op.slot && c.state == from; };
    if (!all(op.first, op.count, fits)) return false;
    for (std::uint64_t i = 0; i < op.count; ++i) cells[op.first + i].state = to;
    return true;
  }
  bool grant(const Operation& op, std::uint64_t chosen) {
    const int grantee = op.grantee == ledger::kHostTools ? -1 : op.grantee;
    if (op.count == 0 || grantee == op.slot || (grantee >= 0 && !live.contains(grantee)))
      return false;
    for (std::uint64_t place = op.place / 512; place <= (op.place + op.count - 1) / 512; ++place) {
      const bool owned = std::any_of(cells.begin(), cells.end(), [&](const Cell& c) {
        return c.owner == op.slot && c.place == static_cast<std::int64_t>(place) &&
               c.state != FrameState::kSealed;
      });
      if (!owned) return false;
    }
    const Share share{op.slot, grantee, op.place, op.count};
    if (!grants.try_emplace(chosen, share).second) return false;
    for (Cell& cell : cells) {
      if (cell.place >= 0 && touches(share, cell.owner, cell.place)) {
        cell.state = FrameState::kShared;
      }
    }
    return true;
  }
  bool revoke(const Operation& op) {
    const auto found = grants.find(op.first);
    if (found == grants.end() || std::get<0>(found->second) != op.slot) return false;
    grants.erase(found);
    settle();
    return true;
  }
};

struct Attempt {
  bool allowed = false;
  std::uint64_t chosen = 0;
};

// Does it to a ledger.
inline Attempt attempt(Ledger& ledger, const Operation& op) {
  const auto told = [](const auto& result) { return Attempt{result.has_value(), 0}; };
  PartitionId id =
      op.slot < ledger::kMaxPartitions ? ledger.id_of(op.slot) : PartitionId{op.slot, 0};
  if (op.stale) --id.generation;
  const FrameRun run{FrameIndex(op.first), op.count};
  switch (op.act) {
    case Act::kCreate: {
      const auto made = ledger.create_partition({.name = "p", .uid = 7, .pid = 9, .start_time = 1});
      return {made.has_value(), made ? made->slot : 0U};
    }
    case Act::kEnd:
      return told(ledger.release_all(id));
    case Act::kTake: {
      const auto taken = ledger.take(id, op.first, op.count);
      return {taken.has_value(), taken ? taken->first.value() : 0};
    }
    case Act::kPlace:
      return told(ledger.place(id, run, GuestFrame(op.place)));
    case Act::kRelease:
      return told(ledger.release(id, run));
    case Act::kScrubbed:
      return told(ledger.scrubbed(run));
    case Act::kSeal:
      return told(ledger.seal(id, run));
    case Act::kUnseal:
      return told(ledger.unseal(id, run));
    case Act::kGrant: {
      std::optional<PartitionId> to;
      if (op.grantee < ledger::kMaxPartitions) to = ledger.id_of(op.grantee);
      const auto granted = ledger.grant(
          id, {.grantee = to, .pages = {PageIndex(op.place), op.count}, .rights = Rights::kRead});
      return {granted.has_value(), granted ? granted->value() : 0};
    }
    case Act::kRevoke:
      return told(ledger.revoke(id, GrantId(op.first)));
  }
  return {};
}

// Remembers every store, and may tamper with it: what a defect in the ledger would do.
class RecordingStorage final : public LedgerMemory {
 public:
  struct Store {
    std::size_t index;
    std::uint64_t before;
    std::uint64_t after;
  };
  using Defect = bool (*)(std::size_t index, std::uint64_t before, std::uint64_t& after);

  using LedgerMemory::LedgerMemory;
  void store(std::size_t index, std::uint64_t value) override {
    if (defect != nullptr && !defect(index, words()[index], value)) return;
    log.push_back({index, words()[index], value});
    LedgerMemory::store(index, value);
  }
  void set(std::size_t index, std::uint64_t value) { LedgerMemory::store(index, value); }
  void undo() {
    for (; !log.empty(); log.pop_back()) set(log.back().index, log.back().before);
  }

  std::vector<Store> log;
  Defect defect = nullptr;
};

}  // namespace bulkhead
