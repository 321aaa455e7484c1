// SPDX-License-Identifier: Apache-2.0
#include "boot/relocations.h"

#include <gtest/gtest.h>

#include "base/byte_reader.h"
#include "boot/image_builder_for_test.h"

namespace bulkhead::boot {
namespace {

constexpr std::uint64_t kImage = 256 * kKiB;  // several windows
constexpr Gpa kLoaded{32 * kMiB};
constexpr std::uint64_t kOffset = 0x12600000;

class Relocations : public ::testing::Test {
 protected:
  // Fills the image and the memory around it with a pattern.
  void SetUp() override {
    for (std::size_t i = 0; i < before_.size(); ++i) {
      before_[i] = static_cast<std::byte>(i * 13 + i / 251);
    }
    ASSERT_TRUE(memory_->write(kLoaded, before_));
  }

  static Result<std::optional<RelocationTables>> find(const Bytes& tables) {
    const Fd fd = make_file(Bytes(64) + tables);
    return RelocationTables::find(FileReader::create(fd.get()).value(), 64);
  }

  Result<void> apply(const Bytes& tables) {
    const Fd fd = make_file(tables);
    const FileReader payload = FileReader::create(fd.get()).value();
    const auto found = TRY(RelocationTables::find(payload, 0));
    CHECK(found.has_value());
    return found->apply(*memory_, payload,
                        {.load_address = kLoaded,
                         .link_address = TestElf::kLink,
                         .image_bytes = kImage,
                         .virtual_offset = kOffset});
  }

  Bytes after() {
    Bytes bytes(before_.size());
    CHECK(memory_->read(kLoaded, bytes).has_value());
    return bytes;
  }

  std::unique_ptr<GuestMemory> memory_ =
      GuestMemory::create({.size_bytes = GuestMemory::kMinSize}).value();
  Bytes before_ = Bytes(kImage + 64 * kKiB);
};

TEST_F(Relocations, AdjustExactlyTheWordsTheyName) {
  const TestRelocations tables{.add64 = {0, 8, 70001, kImage - 8},
                               .subtract32 = {100, 65534, kImage - 4},
                               .add32 = {16, 20, 65531, 131072}};
  ASSERT_TRUE(apply(tables.make()));
  Bytes expected = before_;
  for (auto at : tables.add64) {
    poke(expected, at, get_le<std::uint64_t>(expected, at) + kOffset);
  }
  const auto low = static_cast<std::uint32_t>(kOffset);
  for (auto at : tables.subtract32) poke(expected, at, get_le<std::uint32_t>(expected, at) - low);
  for (auto at : tables.add32) poke(expected, at, get_le<std::uint32_t>(expected, at) + low);
  EXPECT_EQ(after(), expected);
}

TEST_F(Relocations, WithoutTheSubtractedTableAreUnderstoodToo) {
  const TestRelocations tables{
      .add64 = {8}, .subtract32 = {}, .add32 = {40}, .has_subtract = false};
  const auto found = find(tables.make()).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->tables()[0].count, 1U);
  EXPECT_EQ(found->tables()[1].count, 0U);
  EXPECT_EQ(found->tables()[2].count, 1U);
  ASSERT_TRUE(apply(tables.make()));
  Bytes expected = before_;
  poke(expected, 8, get_le<std::uint64_t>(expected, 8) + kOffset);
  poke(expected, 40, get_le<std::uint32_t>(expected, 40) + static_cast<std::uint32_t>(kOffset));
  EXPECT_EQ(after(), expected);
}

// Entries that point before, across the end of, and behind the image.
TEST_F(Relocations, OutsideOfTheImageAreRefused) {
  const auto refused = [&](const TestRelocations& tables) {
    return apply(tables.make()).error().code == Errc::kMalformed;
  };
  EXPECT_TRUE(refused({.add64 = {kImage - 7}, .subtract32 = {}, .add32 = {}}));
  EXPECT_TRUE(refused({.add64 = {}, .subtract32 = {kImage - 3}, .add32 = {}}));
  EXPECT_TRUE(refused({.add64 = {}, .subtract32 = {}, .add32 = {kImage - 3}}));
  EXPECT_TRUE(refused({.add64 = {}, .subtract32 = {}, .add32 = {kImage}}));
  EXPECT_TRUE(refused({.add64 = {}, .subtract32 = {}, .add32 = {0x70000000}}));
  EXPECT_TRUE(refused({.add64 = {}, .subtract32 = {}, .add32 = {~std::uint64_t{0}}}));
  EXPECT_TRUE(refused({.add64 = {~TestElf::kLink}, .subtract32 = {}, .add32 = {}}));
  EXPECT_EQ(after(), before_);
}

TEST_F(Relocations, OutOfOrderAreRefused) {
  const TestRelocations tables{.add64 = {}, .subtract32 = {}, .add32 = {100000, 90000}};
  EXPECT_EQ(apply(tables.make()).error().code, Errc::kMalformed);
}

TEST_F(Relocations, InAnUnknownFormAreNotTouched) {
  Bytes none;
  EXPECT_FALSE(find(none).value());
  Bytes ragged(5);
  EXPECT_FALSE(find(ragged).value());
  Bytes one_zero;
  append(one_zero, std::uint32_t{0});
  EXPECT_FALSE(find(one_zero).value());
  Bytes four_zeros(16);
  EXPECT_FALSE(find(four_zeros).value());
  Bytes no_leading_zero;
  for (std::uint32_t word : {5U, 0U, 6U, 0U, 7U}) append(no_leading_zero, word);
  EXPECT_FALSE(find(no_leading_zero).value());
  EXPECT_TRUE(find(Bytes(12)).value());  // three empty tables
  const Fd fd = make_file(Bytes(8));
  EXPECT_FALSE(RelocationTables::find(FileReader::create(fd.get()).value(), 9));
}

}  // namespace
}  // namespace bulkhead::boot
