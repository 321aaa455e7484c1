// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "base/byte_reader.h"

namespace bulkhead {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{Errc::kInvalidArgument, 0, "odd"};
  return number / 2;
}

Result<int> quarter(int number) {
  return half(TRY(half(number)));
}

TEST(Result, TryReturnsTheFirstError) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().code, Errc::kInvalidArgument);
  EXPECT_STREQ(quarter(7).error().what, "odd");
}

TEST(Result, CarriesMoveOnlyValues) {
  auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
  auto use = [&]() -> Result<int> {
    auto owned = TRY(make());
    return *owned;
  };
  EXPECT_EQ(use().value(), 5);
}

TEST(Result, AndThenAndTransformPassErrorsOn) {
  EXPECT_EQ(half(4).and_then(half).value(), 1);
  EXPECT_FALSE(half(3).and_then(half));
  EXPECT_EQ(half(4).transform([](int n) { return n * 10; }).value(), 20);
  EXPECT_EQ(half(3).value_or(-1), -1);
}

TEST(ResultDeathTest, TheValueOfAnErrorIsOurDefect) {
  EXPECT_DEATH((void)half(3).value(), "check_failed");
}

TEST(OsError, MapsTheCommonNumbers) {
  EXPECT_EQ(os_error(ENOENT, "x").code, Errc::kNotFound);
  EXPECT_EQ(os_error(ENOSPC, "x").code, Errc::kExhausted);
  EXPECT_EQ(os_error(EIO, "x").code, Errc::kIo);
}

TEST(RangeFits, NeverWraps) {
  EXPECT_TRUE(range_fits(0, 8, 8));
  EXPECT_FALSE(range_fits(1, 8, 8));
  EXPECT_FALSE(range_fits(~0ULL, 2, 8));
  EXPECT_FALSE(range_fits(4, ~0ULL - 2, 8));
}

TEST(ByteReader, StopsAtTheEnd) {
  const std::byte bytes[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<std::uint16_t>().value(), 0x0201);
  EXPECT_EQ(reader.read<std::uint16_t>().error().code, Errc::kTruncated);
  EXPECT_EQ(reader.remaining(), 1U);
  EXPECT_FALSE(reader.take(~0ULL));
  EXPECT_FALSE(reader.seek(4));
  EXPECT_TRUE(reader.seek(3));
  EXPECT_TRUE(reader.empty());
}

}  // namespace
}  // namespace bulkhead
