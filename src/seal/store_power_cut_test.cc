// SPDX-License-Identifier: Apache-2.0
// Power cuts: at every write, with any part of what was not yet synced lost or torn, the store
// opens as it was at the last commit that returned, or as the one that was under way.

#include <gtest/gtest.h>

#include "seal/sealed_store.h"
#include "seal/store_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 200;  // two leaves and a root
constexpr std::size_t kSector = 512;

// Remembers when, in terms of the medium's operations, it was advanced.
class RecordingAnchor final : public RollbackAnchor {
 public:
  struct Step {
    std::size_t operations = 0;
    AnchorMark mark;
  };

  explicit RecordingAnchor(TestMedium& medium) : medium_(medium) {}
  Result<AnchorMark> newest(const StoreId&) override { return steps.back().mark; }
  Result<void> advance(const StoreId&, const AnchorMark& mark) override {
    steps.push_back({medium_.history.size(), mark});
    return {};
  }
  Result<void> forget(const StoreId&) override { return {}; }

  std::vector<Step> steps;

 private:
  TestMedium& medium_;
};

class PowerCut : public testing::Test {
 protected:
  // Content of a few pages: a number for each.
  using State = std::map<std::uint64_t, std::uint64_t>;

  PowerCut() : anchor(medium) { medium.record = true; }

  void run() {
    auto store = SealedStore::create(options_for_test(medium, key, &anchor, kPages)).value();
    initial_size = medium.bytes.size();
    id = store->id();
    states.push_back({});
    State state;
    std::mt19937_64 random(3);
    for (int commit = 0; commit < 6; ++commit) {
      for (int i = 0; i < 3; ++i) {
        const std::uint64_t page = random() % 5 * 45;
        state[page] = random() % 4 == 0 ? 0 : random() | 1;
        CHECK(store->put(PageIndex(page), page_of(state[page])));
      }
      states.push_back(state);
      CHECK(store->commit());
    }
  }

  // The medium when power fails after `count` operations: what was synced, and of the rest each
  // sector that `survives`.
  std::vector<std::byte> medium_after(std::size_t count, const std::function<bool()>& survives) {
    std::vector<std::byte> bytes(medium.bytes.size());
    std::size_t synced = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (medium.history[i].is_sync) synced = i;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto& operation = medium.history[i];
      for (std::size_t at = 0; at < operation.bytes.size(); at += kSector) {
        if (i > synced && !survives()) continue;
        std::copy_n(operation.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    std::min(kSector, operation.bytes.size() - at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(operation.offset + at));
      }
    }
    return bytes;
  }

  std::size_t generation_index(const AnchorMark& mark) const {
    return static_cast<std::size_t>(mark.generation - 1);
  }

  // Opens what is left, and asserts that it is the anchored state or the next, and goes on.
  void expect_old_or_new(std::vector<std::byte> bytes, const AnchorMark& mark) {
    TestMedium left(std::move(bytes));
    MemoryAnchor after;
    ASSERT_TRUE(after.advance(id, mark));
    auto store = SealedStore::open(options_for_test(left, key, &after));
    ASSERT_TRUE(store) << store.error().what;
    const std::uint64_t generation = (*store)->stats().generation;
    ASSERT_TRUE(generation == mark.generation || generation == mark.generation + 1);
    (generation == mark.generation ? olds : news) += 1;
    for (const auto& [page, number] : states[generation - 1]) {
      const auto content = read_page(**store, page);
      ASSERT_TRUE(content && *content == page_of(number));
    }
    ASSERT_TRUE((*store)->put(PageIndex(7), page_of(7)));
    ASSERT_TRUE((*store)->commit());
    auto again = SealedStore::open(options_for_test(left, key, &after));
    ASSERT_TRUE(again);
    EXPECT_EQ(read_page(**again, 7).value(), page_of(7));
    EXPECT_EQ(first_error(**again), std::nullopt);
  }

  TestMedium medium;
  TestKey key;
  RecordingAnchor anchor;
  std::vector<State> states;
  std::size_t initial_size = 0;
  StoreId id;
  int olds = 0;
  int news = 0;
};

TEST_F(PowerCut, LeavesTheOldStateOrTheNew) {
  run();
  const std::size_t created = anchor.steps.front().operations;
  std::mt19937_64 random(5);
  for (std::size_t count = created; count <= medium.history.size(); ++count) {
    // When the cut comes together with the anchor's step, it may have been made or not.
    for (const auto& step : anchor.steps) {
      const bool is_last_before = step.operations <= count && (&step == &anchor.steps.back() ||
                                                               (&step + 1)->operations >= count);
      if (!is_last_before) continue;
      expect_old_or_new(medium_after(count, [] { return true; }), step.mark);
      expect_old_or_new(medium_after(count, [] { return false; }), step.mark);
      for (int variant = 0; variant < 12; ++variant) {
        const std::uint64_t likely = random() % 7 + 1;
        expect_old_or_new(medium_after(count, [&] { return random() % 8 < likely; }), step.mark);
      }
      if (HasFatalFailure()) return;
    }
  }
  // Both happened, or the test would not have cut where it matters.
  EXPECT_GT(olds, 100);
  EXPECT_GT(news, 10);
}

// Whole writes of one commit, in every combination.
TEST_F(PowerCut, WhateverTheOrderOfWrites) {
  run();
  const std::size_t last = anchor.steps[anchor.steps.size() - 2].operations;
  std::vector<std::size_t> loose;
  std::size_t end = last;
  for (; !medium.history[end].is_sync; ++end) loose.push_back(end);
  ASSERT_GE(loose.size(), 3u);
  ASSERT_LE(loose.size(), 12u);
  const AnchorMark& mark = anchor.steps[anchor.steps.size() - 2].mark;
  for (std::size_t subset = 0; subset < std::size_t{1} << loose.size(); ++subset) {
    std::vector<std::byte> bytes = medium_after(last, [] { return true; });
    for (std::size_t i = 0; i < loose.size(); ++i) {
      if ((subset >> i & 1) == 0) continue;
      const auto& operation = medium.history[loose[i]];
      std::ranges::copy(operation.bytes,
                        bytes.begin() + static_cast<std::ptrdiff_t>(operation.offset));
    }
    expect_old_or_new(std::move(bytes), mark);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(news, 0) << "no superblock was among them";
}

// The control: without the sync before the superblock, some cuts leave a store that does not open.
TEST_F(PowerCut, ControlWithoutTheFirstSyncItWouldNotHold) {
  run();
  for (std::size_t i = 0; i + 1 < medium.history.size(); ++i) {
    const bool before_superblock =
        medium.history[i].is_sync && medium.history[i + 1].bytes.size() == Superblock::kBytes;
    if (!before_superblock) continue;
    medium.history[i].is_sync = false;
    // Of this commit the superblock survives, and nothing else.
    std::size_t writes = 0;
    const auto& mark = anchor.steps[1].mark;
    if (i < anchor.steps[0].operations) continue;
    std::size_t sectors_before = 0;
    for (std::size_t j = anchor.steps[0].operations; j < i; ++j) {
      sectors_before += medium.history[j].bytes.size() / kSector;
    }
    TestMedium left(medium_after(i + 2, [&] { return writes++ >= sectors_before; }));
    auto store = SealedStore::open(options_for_test(left, key));
    EXPECT_FALSE(store && (*store)->stats().generation == mark.generation &&
                 first_error(**store) == std::nullopt);
    return;
  }
  FAIL() << "no commit found";
}

TEST_F(PowerCut, AnInterruptedAdvanceIsCompleted) {
  run();
  const auto& before = anchor.steps[anchor.steps.size() - 2].mark;
  MemoryAnchor behind;
  ASSERT_TRUE(behind.advance(id, before));
  ASSERT_TRUE(SealedStore::open(options_for_test(medium, key, &behind)));
  EXPECT_EQ(behind.newest(id).value(), anchor.steps.back().mark);
}

// An anchor that fails once: the commit says so, the state is there, and the next commit mends it.
class FailingAnchor final : public RollbackAnchor {
 public:
  Result<AnchorMark> newest(const StoreId& store) override { return inner.newest(store); }
  Result<void> advance(const StoreId& store, const AnchorMark& mark) override {
    if (fail) return Error{Errc::kIo, 0, "the anchor fails"};
    return inner.advance(store, mark);
  }
  Result<void> forget(const StoreId& store) override { return inner.forget(store); }

  MemoryAnchor inner;
  bool fail = false;
};

TEST(StoreFailures, AFailingAnchorIsCaughtUp) {
  TestMedium medium;
  TestKey key;
  FailingAnchor failing;
  auto store = SealedStore::create(options_for_test(medium, key, &failing, 10)).value();
  ASSERT_TRUE(store->put(PageIndex(1), page_of(1)));
  failing.fail = true;
  EXPECT_EQ(store->commit().error().code, Errc::kIo);
  EXPECT_EQ(store->commit().error().code, Errc::kIo) << "not before the anchor is";
  failing.fail = false;
  ASSERT_TRUE(store->put(PageIndex(2), page_of(2)));
  ASSERT_TRUE(store->commit());
  EXPECT_EQ(failing.inner.newest(store->id())->generation, store->stats().generation);
  EXPECT_TRUE(SealedStore::open(options_for_test(medium, key, &failing)));
}

TEST(StoreFailures, AfterAFailedSyncNothingIsPromised) {
  TestMedium medium;
  TestKey key;
  auto store = SealedStore::create(options_for_test(medium, key, nullptr, 10)).value();
  ASSERT_TRUE(store->put(PageIndex(1), page_of(1)));
  medium.fail_syncs = true;
  EXPECT_EQ(store->commit().error().code, Errc::kIo);
  medium.fail_syncs = false;
  EXPECT_EQ(store->commit().error().code, Errc::kIo);
  EXPECT_EQ(store->put(PageIndex(2), page_of(2)).error().code, Errc::kIo);
  EXPECT_EQ(read_page(*store, 1).value(), page_of(1));
  EXPECT_EQ(SealedStore::open(options_for_test(medium, key)).value()->stats().generation, 1u);
}

class FullMedium : public testing::TestWithParam<bool> {};

TEST_P(FullMedium, KeepsTheOldStateAndWorksOnWhenThereIsSpace) {
  TestMedium medium;
  medium.quota = 400 * kKiB;
  medium.sparse = GetParam();
  TestKey key;
  MemoryAnchor anchor;
  auto store = SealedStore::create(options_for_test(medium, key, &anchor, 1000)).value();
  for (std::uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(store->put(PageIndex(i), page_of(i + 1)));
  ASSERT_TRUE(store->commit());
  std::uint64_t put = 20;
  Result<void> done;
  while ((done = store->put(PageIndex(put), page_of(put + 1)))) ++put;
  EXPECT_EQ(done.error().code, Errc::kExhausted);
  EXPECT_GT(put, 50u);
  EXPECT_EQ(store->put(PageIndex(3), page_of(99)).error().code, Errc::kExhausted);
  for (std::uint64_t i = 0; i < put; ++i) ASSERT_EQ(read_page(*store, i).value(), page_of(i + 1));
  // Not even the nodes have a place: the committed state stays.
  EXPECT_EQ(store->commit().error().code, Errc::kExhausted);
  {
    TestMedium copy(medium.bytes);
    MemoryAnchor anchor_copy = anchor;
    auto old = SealedStore::open(options_for_test(copy, key, &anchor_copy)).value();
    EXPECT_EQ(old->stats().sealed_pages, 20u);
    EXPECT_EQ(first_error(*old), std::nullopt);
  }
  // Forgetting makes room without more space on the medium.
  store->forget(PageIndex(put - 1));
  store->forget(PageIndex(put - 2));
  store->forget(PageIndex(put - 3));
  ASSERT_TRUE(store->commit());
  medium.quota = kMiB;
  ASSERT_TRUE(store->put(PageIndex(put), page_of(put + 1)));
  ASSERT_TRUE(store->commit());
  EXPECT_EQ(first_error(*SealedStore::open(options_for_test(medium, key, &anchor)).value()),
            std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(GrowingOrWritingFails, FullMedium, testing::Values(false, true));

}  // namespace
}  // namespace bulkhead
