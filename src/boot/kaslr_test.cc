// SPDX-License-Identifier: Apache-2.0
#include "boot/kaslr.h"

#include <gtest/gtest.h>

#include <set>

namespace bulkhead::boot {
namespace {

constexpr PlacementRange kRange{.preferred = 16 * kMiB,
                                .limit = 256 * kMiB,
                                .image_bytes = 50 * kMiB + 4096,
                                .alignment = 2 * kMiB};

TEST(Kaslr, PlacesWithinBoundsAndAligned) {
  std::set<std::uint64_t> physical;
  std::set<std::uint64_t> virtual_offsets;
  for (int i = 0; i < 2000; ++i) {
    const auto placement = choose_placement(kRange, Randomization::kFull).value();
    const std::uint64_t load = placement.load_address.value();
    ASSERT_EQ(load % kRange.alignment, 0U);
    ASSERT_GE(load, kRange.preferred);
    ASSERT_LE(load + kRange.image_bytes, kRange.limit);
    ASSERT_EQ(placement.virtual_offset % kRange.alignment, 0U);
    ASSERT_LE(kRange.preferred + placement.virtual_offset + kRange.image_bytes, kGiB);
    physical.insert(load);
    virtual_offsets.insert(placement.virtual_offset);
  }
  EXPECT_EQ(physical.size(), 95U);  // every slot was hit
  EXPECT_GT(virtual_offsets.size(), 400U);
}

TEST(Kaslr, StaysPutWhenTold) {
  const auto fixed = choose_placement(kRange, Randomization::kNone).value();
  EXPECT_EQ(fixed.load_address, Gpa{kRange.preferred});
  EXPECT_EQ(fixed.virtual_offset, 0U);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(choose_placement(kRange, Randomization::kVirtualOnly).value().load_address,
              Gpa{kRange.preferred});
  }
}

TEST(Kaslr, UsesTheOnlySlotThereIs) {
  PlacementRange tight = kRange;
  tight.limit = tight.preferred + tight.image_bytes;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(choose_placement(tight, Randomization::kFull).value().load_address,
              Gpa{kRange.preferred});
  }
}

TEST(Kaslr, ObeysTheCommandLine) {
  EXPECT_EQ(allowed_randomization(""), Randomization::kFull);
  EXPECT_EQ(allowed_randomization("quiet nokaslr"), Randomization::kNone);
  EXPECT_EQ(allowed_randomization("nokaslr"), Randomization::kNone);
  EXPECT_EQ(allowed_randomization("nokaslrx xnokaslr"), Randomization::kFull);
  EXPECT_EQ(allowed_randomization("quiet -- nokaslr"), Randomization::kFull);
  EXPECT_EQ(allowed_randomization("mem=64M"), Randomization::kVirtualOnly);
  EXPECT_EQ(allowed_randomization("a\tmemmap=64M$0x50000000"), Randomization::kVirtualOnly);
  EXPECT_EQ(allowed_randomization("mem=64M nokaslr"), Randomization::kNone);
}

}  // namespace
}  // namespace bulkhead::boot
