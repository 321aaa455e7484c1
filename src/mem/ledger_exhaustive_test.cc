// SPDX-License-Identifier: Apache-2.0
// All that can happen to a small ledger: every change by every partition in every state that can be
// reached, right or wrong, compared with the model. And the same for ledgers with a defect, each of
// which must be found.
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>
#include <sstream>

#include "mem/ledger_model_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kFrames = 3;
constexpr std::uint16_t kSlots = 2;
constexpr std::size_t kGrants = 2;

// The words that changes touch, without generations, which would make the states endless.
using State = std::array<std::uint64_t, kSlots * 3 + kGrants * 3 + kFrames>;

class Explorer {
 public:
  explicit Explorer(RecordingStorage::Defect defect) {
    const PoolSetup pool{.frames = kFrames};
    CHECK(Ledger::format(storage_, {&pool, 1}).has_value());
    // The words that create_partition writes once, and that are not part of a state.
    Ledger ledger = Ledger::open(storage_).value();
    for (std::uint16_t i = 0; i < kSlots; ++i) attempt(ledger, {.act = Act::kCreate});
    for (std::uint16_t i = 0; i < kSlots; ++i) attempt(ledger, {.act = Act::kEnd, .slot = i});
    storage_.defect = defect;
  }

  // The first disagreement, or nothing. Counts what it saw.
  std::string explore() {
    remember(state());
    while (!waiting_.empty()) {
      const State from = waiting_.front();
      waiting_.pop_front();
      load(from);
      Ledger ledger = Ledger::open(storage_).value();
      const Model before = Model::of(ledger.view());
      for (const Operation& op : operations()) {
        const std::string wrong = step(ledger, before, op);
        if (!wrong.empty()) return wrong;
        storage_.undo();
      }
    }
    return {};
  }
  std::size_t states() const { return seen_.size(); }
  std::size_t changes() const { return changes_; }
  std::size_t refusals() const { return refusals_; }

 private:
  static std::vector<std::size_t> words_of_state() {
    std::vector<std::size_t> words;
    for (std::size_t i = 0; i < kSlots; ++i) {
      for (std::size_t j = 0; j < 3; ++j) words.push_back(ledger::partition_word(i) + j);
    }
    for (std::size_t i = 0; i < kGrants; ++i) {
      for (std::size_t j = 0; j < 3; ++j) words.push_back(ledger::grant_word(i) + j);
    }
    for (std::uint64_t i = 0; i < kFrames; ++i) words.push_back(ledger::frame_word(FrameIndex(i)));
    return words;
  }

  State state() const {
    static const std::vector<std::size_t> words = words_of_state();
    State state{};
    for (std::size_t i = 0; i < words.size(); ++i) state[i] = storage_.words()[words[i]];
    for (std::size_t i = 0; i < kSlots; ++i) {
      state[i * 3] = ledger::low_half(state[i * 3]);
      if (state[i * 3] == 0) state[i * 3 + 1] = state[i * 3 + 2] = 0;
    }
    for (std::size_t i = kSlots * 3; i < kSlots * 3 + kGrants * 3; i += 3) {
      if (state[i] == 0) state[i + 1] = state[i + 2] = 0;
    }
    return state;
  }
  void load(const State& state) {
    static const std::vector<std::size_t> words = words_of_state();
    for (std::size_t i = 0; i < words.size(); ++i) storage_.set(words[i], state[i]);
    storage_.log.clear();
  }
  void remember(const State& state) {
    if (seen_.insert(state).second) waiting_.push_back(state);
  }

  const std::vector<Operation>& operations() {
    if (!operations_.empty()) return operations_;
    operations_.push_back({.act = Act::kCreate});
    for (std::uint64_t first = 0; first < kFrames; ++first) {
      for (std::uint64_t count = 1; first + count <= kFrames; ++count) add_runs(first, count);
    }
    for (std::uint16_t slot = 0; slot < kSlots; ++slot) add_others(slot);
    return operations_;
  }
  void add_runs(std::uint64_t first, std::uint64_t count) {
    Operation op{.act = Act::kScrubbed, .first = first, .count = count};
    operations_.push_back(op);
    for (op.slot = 0; op.slot < kSlots; ++op.slot) {
      for (Act act : {Act::kRelease, Act::kSeal, Act::kUnseal, Act::kPlace}) {
        op.act = act;
        operations_.push_back(op);
      }
    }
  }
  void add_others(std::uint16_t slot) {
    operations_.push_back({.act = Act::kEnd, .slot = slot});
    for (std::uint64_t i = 1; i <= kFrames; ++i) {
      operations_.push_back({.act = Act::kTake, .slot = slot, .count = i});
    }
    for (std::uint64_t i = 0; i < kGrants; ++i) {
      operations_.push_back({.act = Act::kRevoke, .slot = slot, .first = i});
    }
    const auto other = static_cast<std::uint16_t>(1 - slot);
    for (const PageRun& pages : {PageRun{PageIndex(0), 1}, PageRun{PageIndex(511), 2}}) {
      for (std::uint16_t grantee : {other, ledger::kHostTools}) {
        operations_.push_back({.act = Act::kGrant,
                               .slot = slot,
                               .count = pages.count,
                               .place = pages.first.value(),
                               .grantee = grantee});
      }
    }
  }

  std::string step(Ledger& ledger, const Model& before, const Operation& op) {
    if (op.act == Act::kCreate && before.live.size() == kSlots) return {};
    if (op.act == Act::kGrant && before.grants.size() == kGrants) return {};
    Model model = before;
    const Attempt got = attempt(ledger, op);
    const bool wanted = model.apply(op, got.chosen);
    ++(wanted ? changes_ : refusals_);
    if (!wanted && !got.allowed && storage_.log.empty()) return {};
    if (wanted != got.allowed) return "allowed or refused wrongly: " + describe(op);
    if (const Result<void> sound = ledger.check(); !sound) {
      return std::string(sound.error().what) + ": " + describe(op);
    }
    if (!(Model::of(ledger.view()) == model)) return "not as the model: " + describe(op);
    remember(state());
    return {};
  }
  static std::string describe(const Operation& op) {
    std::ostringstream text;
    text << op;
    return text.str();
  }

  RecordingStorage storage_{kFrames};
  std::vector<Operation> operations_;
  std::set<State> seen_;
  std::deque<State> waiting_;
  std::size_t changes_ = 0;
  std::size_t refusals_ = 0;
};

TEST(LedgerExhaustive, EveryStateAndEveryChange) {
  Explorer explorer(nullptr);
  EXPECT_EQ(explorer.explore(), "");
  EXPECT_GT(explorer.states(), 1000U);
  EXPECT_GT(explorer.changes(), explorer.states());
  EXPECT_GT(explorer.refusals(), explorer.states());
  RecordProperty("states", std::to_string(explorer.states()));
  std::printf("%zu states, %zu changes, %zu refusals\n", explorer.states(), explorer.changes(),
              explorer.refusals());
}

bool is_frame(std::size_t index) {
  return index >= ledger::kFrameTable;
}
bool is_grant(std::size_t index) {
  return index >= ledger::kGrantTable && !is_frame(index) &&
         (index - ledger::kGrantTable) % ledger::kGrantWords == 0;
}

struct NamedDefect {
  const char* name;
  RecordingStorage::Defect defect;
};

const NamedDefect kDefects[] = {
    {"frees what was not scrubbed",
     [](std::size_t index, std::uint64_t, std::uint64_t& after) {
       if (is_frame(index) && (after & 7) == 4) after = 0;
       return true;
     }},
    {"grants without marking the frame",
     [](std::size_t index, std::uint64_t, std::uint64_t& after) {
       return !is_frame(index) || (after & 7) != 3;
     }},
    {"keeps a revoked grant", [](std::size_t index, std::uint64_t,
                                 std::uint64_t& after) { return !is_grant(index) || after != 0; }},
    {"gives a frame to the neighbour",
     [](std::size_t index, std::uint64_t before, std::uint64_t& after) {
       if (is_frame(index) && before == 0 && (after & 7) == 1) after ^= 1U << 16;
       return true;
     }},
    {"forgets an extent's head",
     [](std::size_t index, std::uint64_t, std::uint64_t& after) {
       if (is_frame(index) && (after & 7) == 1) after &= ~8ULL;
       return true;
     }},
    {"takes a sealed frame for an owned one",
     [](std::size_t index, std::uint64_t, std::uint64_t& after) {
       if (is_frame(index) && (after & 7) == 2) after = (after & ~7ULL) | 1;
       return true;
     }},
    {"loses the last frame of a release",
     [](std::size_t index, std::uint64_t before, std::uint64_t& after) {
       return index != ledger::kFrameTable + kFrames - 1 || (before & 7) != 1 || (after & 7) != 4;
     }},
};

// The control: the exploration above finds what it looks for.
TEST(LedgerExhaustive, EveryDefectIsFound) {
  for (const NamedDefect& defect : kDefects) {
    Explorer broken(defect.defect);
    EXPECT_NE(broken.explore(), "") << defect.name;
  }
}

// Foreign bytes: whatever one word is, open() answers, and what it accepts is in order.
TEST(LedgerExhaustive, DamagedWordsAreRefusedOrHarmless) {
  RecordingStorage good(kFrames);
  const PoolSetup pool{.frames = kFrames};
  Ledger ledger = Ledger::format(good, {&pool, 1}).value();
  attempt(ledger, {.act = Act::kCreate});
  attempt(ledger, {.act = Act::kTake, .count = 2});
  attempt(ledger, {.act = Act::kPlace, .count = 2});
  attempt(ledger, {.act = Act::kGrant, .count = 1, .grantee = ledger::kHostTools});
  std::mt19937_64 random(3);
  int refused = 0;
  std::vector<std::size_t> places = {0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 511};
  for (std::size_t i = 0; i < 17; ++i) places.push_back(ledger::partition_word(0) + i);
  for (std::size_t i = 0; i < 5; ++i) places.push_back(ledger::grant_word(0) + i);
  for (std::size_t i = 0; i < kFrames; ++i) places.push_back(ledger::kFrameTable + i);
  for (std::size_t place : places) {
    for (int i = 0; i < 80; ++i) {
      RecordingStorage damaged({good.words().begin(), good.words().end()});
      const std::uint64_t bit = 1ULL << (i % 64);
      damaged.set(place, i < 64 ? damaged.words()[place] ^ bit : random());
      auto opened = Ledger::open(damaged);
      if (!opened) {
        ++refused;
        EXPECT_STRNE(opened.error().what, "");
      } else {
        ASSERT_TRUE(opened->check()) << place << " " << opened->check().error().what;
      }
    }
  }
  EXPECT_GT(refused, 1000);
  for (std::size_t words :
       {std::size_t{0}, std::size_t{1}, ledger::kFrameTable, ledger::words_for(kFrames) - 1}) {
    LedgerMemory cut({good.words().begin(), good.words().begin() + static_cast<long>(words)});
    EXPECT_FALSE(Ledger::open(cut)) << words;
  }
}

}  // namespace
}  // namespace bulkhead
