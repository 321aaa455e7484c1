// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/state_keeper.h"

#include <gtest/gtest.h>

#include "seal/medium_for_test.h"
#include "vtpm/process/held_key.h"

namespace bulkhead::vtpm {
namespace {

using Bytes = std::vector<std::byte>;

class VtpmStateKeeper : public ::testing::Test {
 protected:
  Result<std::unique_ptr<SealedKeeper>> open(Medium& medium, bool fresh = false) {
    return SealedKeeper::create({.medium = medium, .key = key_, .counter = counter_}, fresh);
  }
  Result<std::unique_ptr<SealedKeeper>> open(bool fresh = false) { return open(medium_, fresh); }
  static Bytes state(std::size_t length, unsigned seed) {
    Bytes bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
    return bytes;
  }

  TestMedium medium_;
  HeldKey key_{SecretBytes::random(32).value()};
  MemoryAnchor counter_;
};

TEST_F(VtpmStateKeeper, GivesBackWhatWasSaved) {
  {
    auto keeper = open(true).value();
    EXPECT_TRUE(keeper->load()->empty());
  }
  for (std::size_t length :
       {std::size_t{1}, std::size_t{1299}, std::size_t{9000}, kMaxStateBytes, std::size_t{300}}) {
    ASSERT_TRUE(open().value()->save(state(length, 3)));
    EXPECT_EQ(open().value()->load().value(), state(length, 3)) << length;
  }
}

TEST_F(VtpmStateKeeper, HasALimit) {
  EXPECT_EQ(open(true).value()->save(Bytes(kMaxStateBytes + 1)).error().code, Errc::kExhausted);
}

// Saving what is stored already writes nothing.
TEST_F(VtpmStateKeeper, SealsOnlyWhatHasChanged) {
  auto keeper = open(true).value();
  ASSERT_TRUE(keeper->save(state(1299, 1)));
  medium_.record = true;
  ASSERT_TRUE(keeper->save(state(1299, 1)));
  EXPECT_TRUE(medium_.history.empty());
}

// One flipped bit in any block of what is in use: libtpms alone was seen to accept that.
TEST_F(VtpmStateKeeper, RefusesAChangedState) {
  ASSERT_TRUE(open(true).value()->save(state(1299, 1)));
  const Bytes sealed = medium_.bytes;
  std::size_t refused = 0;
  for (std::size_t at = 0; at < sealed.size(); at += 61) {
    TestMedium changed(sealed);
    changed.bytes[at] ^= std::byte{0x10};
    auto keeper = open(changed);
    const auto loaded = keeper ? (*keeper)->load() : Result<Bytes>(keeper.error());
    if (loaded) {
      EXPECT_EQ(*loaded, state(1299, 1)) << at;  // a byte that is not in use
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 70U);  // a page of content alone has 67 such bytes
  TestMedium unchanged(sealed);
  EXPECT_EQ(open(unchanged).value()->load().value(), state(1299, 1));  // the control
}

TEST_F(VtpmStateKeeper, RefusesAnOlderState) {
  ASSERT_TRUE(open(true).value()->save(state(1299, 1)));
  const Bytes older = medium_.bytes;
  auto keeper = open().value();
  ASSERT_TRUE(keeper->load());
  ASSERT_TRUE(keeper->save(state(1299, 2)));
  ASSERT_TRUE(keeper->save(state(1299, 3)));
  keeper.reset();
  TestMedium rolled_back(older);
  EXPECT_EQ(open(rolled_back).error().code, Errc::kRolledBack);
  EXPECT_EQ(open().value()->load().value(), state(1299, 3));  // the control
  counter_ = MemoryAnchor();
  EXPECT_EQ(open().error().code, Errc::kNotFound);  // without a counter nobody knows
}

TEST_F(VtpmStateKeeper, RefusesAnotherKey) {
  ASSERT_TRUE(open(true).value()->save(state(1299, 1)));
  key_ = HeldKey(SecretBytes::random(32).value());
  EXPECT_EQ(open().error().code, Errc::kPermission);
}

// The power goes between any two writes of a save: the state is the old or the new one.
TEST_F(VtpmStateKeeper, AnInterruptedSaveLosesNothing) {
  ASSERT_TRUE(open(true).value()->save(state(6000, 1)));
  auto keeper = open().value();
  ASSERT_TRUE(keeper->load());
  const Bytes before = medium_.bytes;
  const MemoryAnchor counter_before = counter_;
  medium_.record = true;
  ASSERT_TRUE(keeper->save(state(7000, 2)));
  keeper.reset();
  const auto history = medium_.history;
  ASSERT_GT(history.size(), 3U);
  counter_ = counter_before;  // the counter is written last
  for (std::size_t count = 0; count <= history.size(); ++count) {
    TestMedium cut(before);
    ASSERT_TRUE(cut.grow(medium_.bytes.size()));
    for (std::size_t i = 0; i < count; ++i) {
      if (history[i].is_sync) continue;
      ASSERT_TRUE(cut.write_at(history[i].offset, history[i].bytes));
    }
    counter_ = counter_before;
    auto after = open(cut);
    ASSERT_TRUE(after) << count << ": " << after.error().what;
    const Bytes loaded = (*after)->load().value();
    EXPECT_TRUE(loaded == state(6000, 1) || loaded == state(7000, 2)) << count;
  }
}

TEST_F(VtpmStateKeeper, AFullDiskKeepsTheOldState) {
  auto keeper = open(true).value();
  ASSERT_TRUE(keeper->save(state(1299, 1)));
  medium_.fail_writes = true;
  EXPECT_FALSE(keeper->save(state(1299, 2)));
  keeper.reset();
  medium_.fail_writes = false;
  EXPECT_EQ(open().value()->load().value(), state(1299, 1));
}

}  // namespace
}  // namespace bulkhead::vtpm
