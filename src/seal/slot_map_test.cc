// SPDX-License-Identifier: Apache-2.0
#include "seal/slot_map.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace bulkhead {
namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

TEST(SlotMap, GivesEachUnitOnceAlignedAndNeverAReservedOne) {
  SlotMap map(256, 32);
  std::set<std::uint64_t> units;
  for (std::uint64_t length : std::vector<std::uint64_t>{4, 1, 2, 4, 1, 1, 2}) {
    for (int i = 0; i < 8; ++i) {
      const auto slot = map.allocate(length, kAll);
      ASSERT_TRUE(slot);
      EXPECT_EQ(slot->value() % length, 0u);
      for (std::uint64_t unit = 0; unit < length; ++unit) {
        EXPECT_GE(slot->value() + unit, 32u);
        EXPECT_TRUE(units.insert(slot->value() + unit).second);
      }
    }
  }
  while (map.allocate(1, kAll)) {
  }
  EXPECT_EQ(map.used_units(), 256u);
  map.extend(320);
  EXPECT_EQ(map.allocate(4, 1), SlotIndex(256));
}

TEST(SlotMap, KeepsACommittedBlockUntilTheNextCommitLasts) {
  SlotMap map(64, 60);
  const SlotIndex slot = map.allocate(4, kAll).value();
  map.begin_commit();
  map.end_commit();
  map.release({slot, 4});
  EXPECT_FALSE(map.allocate(4, kAll)) << "the lasting state needs it";
  map.begin_commit();
  EXPECT_FALSE(map.allocate(4, kAll)) << "until the next one lasts";
  map.end_commit();
  EXPECT_EQ(map.allocate(4, kAll), slot);
}

TEST(SlotMap, KeepsABlockThatACommitUnderWayNeeds) {
  SlotMap map(64, 60);
  const SlotIndex slot = map.allocate(4, kAll).value();
  map.begin_commit();
  map.release({slot, 4});
  EXPECT_FALSE(map.allocate(4, kAll));
  map.end_commit();
  EXPECT_FALSE(map.allocate(4, kAll));
}

TEST(SlotMap, ABlockThatNoCommitSawIsFreeAtOnce) {
  SlotMap map(64, 60);
  const SlotIndex slot = map.allocate(2, kAll).value();
  map.release({slot, 2});
  EXPECT_EQ(map.used_units(), 60u);
  EXPECT_EQ(map.end_unit(), 60u);
  EXPECT_TRUE(map.allocate(4, kAll));
}

TEST(SlotMap, RefusesWhatAStoreCannotHave) {
  SlotMap map(128, 32);
  EXPECT_TRUE(map.mark({SlotIndex(36), 4}));
  for (std::uint64_t first : std::vector<std::uint64_t>{36, 0, 28, 128, 132, kAll - 3, 41}) {
    EXPECT_EQ(map.mark({SlotIndex(first), 4}).error().code, Errc::kMalformed) << first;
  }
  EXPECT_EQ(map.mark({SlotIndex(39), 1}).error().code, Errc::kMalformed);
  EXPECT_TRUE(map.mark({SlotIndex(40), 1}));
}

TEST(SlotMap, VisitsWhatIsFree) {
  SlotMap map(192, 32);
  ASSERT_TRUE(map.mark({SlotIndex(40), 1}));
  std::uint64_t units = 0;
  map.for_each_free([&](SlotMap::Slot slot) { units += slot.units; });
  EXPECT_EQ(units, 192u - 32 - 4) << "whole pages only";
}

}  // namespace
}  // namespace bulkhead
