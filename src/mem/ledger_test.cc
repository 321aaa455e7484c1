// SPDX-License-Identifier: Apache-2.0
#include "mem/ledger.h"

#include <gtest/gtest.h>

#include <random>

#include "mem/ledger_model_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kFrames = 12;

class LedgerTest : public ::testing::Test {
 protected:
  static Ledger two_pools(LedgerStorage& storage) {
    const PoolSetup pools[] = {
        {.backing = Backing::kMemfd, .numa_node = std::nullopt, .frames = 8},
        {.backing = Backing::kCarved, .numa_node = 1, .frames = 4, .physical_base = 64 * kMiB}};
    return Ledger::format(storage, pools).value();
  }
  PartitionId make(std::string_view name = "web") {
    return ledger_.create_partition({.name = name, .uid = 1000, .pid = 5, .start_time = 99})
        .value();
  }
  static FrameRun run(std::uint64_t first, std::uint64_t frames) {
    return {FrameIndex(first), frames};
  }
  std::uint64_t count(FrameState state) const { return ledger_.view().count(state); }

  RecordingStorage storage_{kFrames};
  Ledger ledger_ = two_pools(storage_);
};

TEST_F(LedgerTest, APagesLife) {
  const PartitionId web = make();
  const PartitionId db = make("db");
  const FrameRun extent = ledger_.take(web, 0, 3).value();
  EXPECT_EQ(extent, run(0, 3));
  ASSERT_TRUE(ledger_.place(web, extent, GuestFrame(2048)));
  const GrantId grant =
      ledger_.grant(web, {.grantee = db, .pages = {PageIndex(2048 * 512), 1}}).value();
  EXPECT_EQ(count(FrameState::kShared), 1U);
  EXPECT_STREQ(ledger_.release(web, extent).error().what,
               "the extent is shared: revoke the grants first");
  EXPECT_EQ(ledger_.revoke(db, grant).error().code, Errc::kPermission);
  ASSERT_TRUE(ledger_.revoke(web, grant));
  ASSERT_TRUE(ledger_.seal(web, run(1, 2)));
  EXPECT_EQ(ledger_.grant(web, {.pages = {PageIndex(2049 * 512), 1}}).error().code,
            Errc::kPermission);
  EXPECT_FALSE(ledger_.release(db, extent));
  EXPECT_FALSE(ledger_.release(web, run(0, 2)));
  ASSERT_TRUE(ledger_.release(web, extent));
  EXPECT_EQ(ledger_.take(db, 0, 6).error().code, Errc::kExhausted);
  ASSERT_TRUE(ledger_.scrubbed(extent));
  EXPECT_EQ(ledger_.take(db, 0, 6).value(), run(0, 6));
  EXPECT_TRUE(ledger_.check());
}

TEST_F(LedgerTest, ADeadPartitionIsNobodysAnyMore) {
  const PartitionId web = make();
  const PartitionId db = make("db");
  ASSERT_TRUE(ledger_.place(web, ledger_.take(web, 0, 2).value(), GuestFrame(0)));
  ASSERT_TRUE(ledger_.place(db, ledger_.take(db, 1, 2).value(), GuestFrame(0)));
  ASSERT_TRUE(ledger_.grant(web, {.grantee = db, .pages = {PageIndex(511), 2}}));
  ASSERT_TRUE(ledger_.grant(db, {.grantee = web, .pages = {PageIndex(1), 1}}));
  ASSERT_TRUE(ledger_.release_all(web));
  EXPECT_EQ(ledger_.scrubbing(), std::vector<FrameRun>{run(0, 2)});
  EXPECT_TRUE(ledger_.view().grants().empty());
  EXPECT_EQ(count(FrameState::kShared), 0U);
  EXPECT_EQ(ledger_.take(web, 0, 1).error().code, Errc::kNotFound);
  const PartitionId next = make("next");
  EXPECT_EQ(next.slot, web.slot);
  EXPECT_NE(next, web);
  EXPECT_FALSE(ledger_.release_all(web)) << "an old identity ends its successor";
  EXPECT_TRUE(ledger_.check());
}

TEST_F(LedgerTest, TheViewSaysWhatIs) {
  const PartitionId web = make();
  ASSERT_TRUE(ledger_.place(web, ledger_.take(web, 1, 2).value(), GuestFrame(7)));
  ASSERT_TRUE(
      ledger_.grant(web, {.pages = {PageIndex(7 * 512), 512}, .rights = Rights::kReadWrite}));
  const LedgerView view =
      LedgerView::open({storage_.words().begin(), storage_.words().end()}).value();
  ASSERT_EQ(view.pools().size(), 2U);
  EXPECT_EQ(view.pools()[1], (PoolRecord{.backing = Backing::kCarved,
                                         .numa_node = 1,
                                         .run = run(8, 4),
                                         .physical_base = 64 * kMiB}));
  ASSERT_EQ(view.partitions().size(), 1U);
  EXPECT_EQ(view.partitions()[0].name, "web");
  EXPECT_EQ(view.partitions()[0].start_time, 99U);
  ASSERT_EQ(view.grants().size(), 1U);
  EXPECT_EQ(view.grants()[0].grantee, std::nullopt);
  ASSERT_EQ(view.extents().size(), 1U);
  EXPECT_EQ(view.extents()[0].run, run(8, 2));
  EXPECT_EQ(view.frame(FrameIndex(9)).guest_frame, GuestFrame(8));
  EXPECT_EQ(view.frames_of(web.slot), 2U);
  EXPECT_TRUE(view.check());
}

TEST_F(LedgerTest, OthersSeeThatFramesAreInUseAndNoMore) {
  const PartitionId web = make();
  const PartitionId other =
      ledger_.create_partition({.name = "secret", .uid = 1001, .pid = 6, .start_time = 1}).value();
  const FrameRun mine = ledger_.take(web, 0, 2).value();
  const FrameRun theirs = ledger_.take(other, 0, 2).value();
  ASSERT_TRUE(ledger_.place(web, mine, GuestFrame(0)));
  ASSERT_TRUE(ledger_.place(other, theirs, GuestFrame(0)));
  ASSERT_TRUE(ledger_.grant(web, {.grantee = other, .pages = {PageIndex(0), 1}}));
  ASSERT_TRUE(ledger_.grant(other, {.pages = {PageIndex(0), 1}}));
  const LedgerView view = LedgerView::open(filtered_copy(storage_.words(), 1000)).value();
  EXPECT_TRUE(view.filtered());
  EXPECT_TRUE(view.check());
  ASSERT_EQ(view.partitions().size(), 1U);
  EXPECT_EQ(view.partitions()[0].name, "web");
  EXPECT_EQ(view.grants().size(), 1U);
  EXPECT_EQ(view.count(FrameState::kWithheld), 2U);
  EXPECT_EQ(view.frames_of(other.slot), 0U);
  LedgerMemory copy({view.words().begin(), view.words().end()});
  EXPECT_STREQ(Ledger::open(copy).error().what, "this is a filtered copy of a ledger");
}

TEST_F(LedgerTest, MemoryOfUnknownContentIsScrubbedFirst) {
  LedgerMemory storage(130);
  const PoolSetup pool{.frames = 130, .unscrubbed = true};
  Ledger ledger = Ledger::format(storage, {&pool, 1}).value();
  const auto web = ledger.create_partition({.name = "web", .uid = 1, .pid = 1, .start_time = 1});
  EXPECT_FALSE(ledger.take(*web, 0, 1));
  EXPECT_EQ(ledger.scrubbing(), (std::vector<FrameRun>{run(0, 64), run(64, 64), run(128, 2)}));
  ASSERT_TRUE(ledger.scrubbed(run(64, 64)));
  EXPECT_EQ(ledger.take(*web, 0, 64).value(), run(64, 64));
}

TEST_F(LedgerTest, MoreThanAGrowthUnitMayComeInParts) {
  LedgerMemory storage(200);
  const PoolSetup pool{.frames = 200};
  Ledger ledger = Ledger::format(storage, {&pool, 1}).value();
  const auto web = ledger.create_partition({.name = "web", .uid = 1, .pid = 1, .start_time = 1});
  EXPECT_EQ(ledger.take(*web, 0, 300).value(), run(0, 192));
  EXPECT_EQ(ledger.take(*web, 0, 64).error().code, Errc::kExhausted);
  EXPECT_EQ(ledger.take(*web, 0, 8).value(), run(192, 8));
}

TEST_F(LedgerTest, LimitsHold) {
  for (std::size_t i = 0; i < ledger::kMaxPartitions; ++i) make();
  EXPECT_EQ(ledger_.create_partition({.name = "p", .pid = 1}).error().code, Errc::kExhausted);
  const PartitionId web = ledger_.id_of(0);
  ASSERT_TRUE(ledger_.place(web, ledger_.take(web, 0, 1).value(), GuestFrame(0)));
  for (std::size_t i = 0; i < ledger::kMaxGrantsPerPartition; ++i) {
    ASSERT_TRUE(ledger_.grant(web, {.pages = {PageIndex(i), 1}}));
  }
  EXPECT_EQ(ledger_.grant(web, {.pages = {PageIndex(0), 1}}).error().code, Errc::kExhausted);
  const std::uint64_t most = ledger::kMaxGuestFrames * ledger::kPagesPerFrame;
  for (const PageRun& bad : {PageRun{PageIndex(0), 0}, PageRun{PageIndex(1), ~0ULL},
                             PageRun{PageIndex(~0ULL), 1}, PageRun{PageIndex(most), 1}}) {
    EXPECT_FALSE(ledger_.grant(ledger_.id_of(1), {.pages = bad}));
  }
  EXPECT_FALSE(ledger_.seal(web, run(~0ULL, 2)));
  EXPECT_FALSE(ledger_.place(web, run(0, ~0ULL), GuestFrame(0)));
  for (const char* name : {"", ".", "-a", "a b", "a/b"}) {
    EXPECT_FALSE(ledger_.create_partition({.name = name, .pid = 1})) << name;
  }
  EXPECT_TRUE(ledger_.check());
}

// Random changes by random actors, half of them wrong, against the model.
class RandomActs {
 public:
  explicit RandomActs(unsigned seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  Operation next(const Model& model) {
    Operation op{.act = static_cast<Act>(below(10)),
                 .slot = static_cast<std::uint16_t>(below(5)),
                 .first = below(kFrames + 1),
                 .count = below(5),
                 .place = below(8),
                 .grantee = static_cast<std::uint16_t>(below(5)),
                 .stale = below(16) == 0};
    if (op.act == Act::kCreate && model.live.size() >= 4) op.act = Act::kTake;
    if (op.act == Act::kEnd && below(4) != 0) op.act = Act::kScrubbed;
    if (op.act == Act::kTake) op.first = below(3);
    if (op.act == Act::kGrant) op.place = below(8 * 512);
    if (op.act == Act::kGrant) op.count = below(3) == 0 ? below(1200) : below(3);
    if (op.act == Act::kGrant && below(3) == 0) op.grantee = ledger::kHostTools;
    if (below(2) == 0) aim(model, op);
    return op;
  }

 private:
  // At an extent, so that what needs a whole one succeeds often.
  void aim(const Model& model, Operation& op) {
    if (op.act != Act::kRelease && op.act != Act::kScrubbed && op.act != Act::kPlace) return;
    op.first = below(kFrames);
    while (op.first > 0 && !model.cells[op.first].head) --op.first;
    op.count = model.length_at(op.first);
    if (model.cells[op.first].owner >= 0) {
      op.slot = static_cast<std::uint16_t>(model.cells[op.first].owner);
    }
  }

  std::mt19937 random_;
};

TEST_F(LedgerTest, AgreesWithTheModelOverMillionsOfChanges) {
  RandomActs acts(1);
  Model model = Model::of(ledger_.view());
  std::array<std::array<int, 2>, 10> outcomes{};
  storage_.log.clear();
  for (int i = 0; i < 2'000'000; ++i) {
    const Operation op = acts.next(model);
    const Attempt got = attempt(ledger_, op);
    const bool wanted = model.apply(op, got.chosen);
    ASSERT_EQ(got.allowed, wanted) << "change " << i << ": " << op;
    ++outcomes[static_cast<std::size_t>(op.act)][got.allowed ? 1 : 0];
    if (!got.allowed) {
      ASSERT_TRUE(storage_.log.empty()) << "a refused change changed something: " << op;
    }
    storage_.log.clear();
    if (i % 64 != 0) continue;
    ASSERT_TRUE(ledger_.check()) << ledger_.check().error().what << " after " << op;
    ASSERT_TRUE(Model::of(ledger_.view()) == model) << "change " << i << ": " << op;
  }
  for (std::size_t act = 1; act < outcomes.size(); ++act) {
    EXPECT_GT(outcomes[act][0], 100) << "seldom refused: " << act;
    EXPECT_GT(outcomes[act][1], 100) << "seldom allowed: " << act;
  }
}

// What must hold after a kill at any store of a change: each frame is as before, or as after, or
// waits to be scrubbed; none is free that was not before, unless it was scrubbed.
void expect_recovered(const Model& before, const Model& after, const Model& found,
                      const Operation& op) {
  for (std::size_t i = 0; i < found.cells.size(); ++i) {
    const Model::Cell& cell = found.cells[i];
    const bool known = cell.state == before.cells[i].state || cell.state == after.cells[i].state;
    const bool changes = !(before.cells[i] == after.cells[i]);
    ASSERT_TRUE(known || (changes && cell.state == FrameState::kScrubbing)) << i << " " << op;
    if (cell.owner >= 0) {
      ASSERT_TRUE(cell.owner == before.cells[i].owner || cell.owner == after.cells[i].owner);
    }
    if (cell.state == FrameState::kFree && before.cells[i].state != FrameState::kFree) {
      ASSERT_EQ(op.act, Act::kScrubbed) << "free, but not scrubbed: " << i << " " << op;
    }
  }
}

void kill_everywhere(const RecordingStorage& after, const Model& before, const Operation& op) {
  RecordingStorage killed({after.words().begin(), after.words().end()});
  const Model done =
      Model::of(LedgerView::open({after.words().begin(), after.words().end()}).value());
  for (std::size_t i = after.log.size(); i-- > 0;) {
    killed.set(after.log[i].index, after.log[i].before);
    auto opened = Ledger::open(killed);
    ASSERT_TRUE(opened) << opened.error().what << " store " << i << " of " << op;
    ASSERT_TRUE(opened->check()) << opened->check().error().what << " store " << i << " of " << op;
    expect_recovered(before, done, Model::of(opened->view()), op);
    // And killed again while it recovers.
    const auto recovery = killed.log;
    for (std::size_t j = recovery.size(); j-- > 0;) {
      killed.set(recovery[j].index, recovery[j].before);
      RecordingStorage again({killed.words().begin(), killed.words().end()});
      auto reopened = Ledger::open(again);
      ASSERT_TRUE(reopened) << reopened.error().what << " store " << i << "," << j << " of " << op;
      ASSERT_TRUE(reopened->check()) << reopened->check().error().what;
      expect_recovered(before, done, Model::of(reopened->view()), op);
    }
    killed.log.clear();
  }
}

TEST_F(LedgerTest, AKillBetweenAnyTwoStoresLosesAndLeaksNothing) {
  RandomActs acts(2);
  Model model = Model::of(ledger_.view());
  int kills = 0;
  for (int i = 0; i < 20'000; ++i) {
    storage_.log.clear();
    const Operation op = acts.next(model);
    const Attempt got = attempt(ledger_, op);
    const Model before = std::exchange(model, Model::of(ledger_.view()));
    if (!got.allowed || i % 4 != 0) continue;
    kills += static_cast<int>(storage_.log.size());
    ASSERT_NO_FATAL_FAILURE(kill_everywhere(storage_, before, op));
  }
  EXPECT_GT(kills, 2000);
}

}  // namespace
}  // namespace bulkhead
