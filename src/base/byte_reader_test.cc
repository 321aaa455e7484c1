// SPDX-License-Identifier: Apache-2.0
#include "base/byte_reader.h"

#include <gtest/gtest.h>

#include <array>

namespace bulkhead {
namespace {

constexpr std::array kBytes = {std::byte{0x12}, std::byte{0x34}, std::byte{0x56}, std::byte{0x78},
                               std::byte{0x9a}};

TEST(ByteReader, ReadsBothOrders) {
  ByteReader little(kBytes);
  EXPECT_EQ(little.read<std::uint32_t>().value(), 0x78563412U);
  ByteReader big(kBytes);
  EXPECT_EQ(big.read_be<std::uint32_t>().value(), 0x12345678U);
  EXPECT_EQ(big.read_be<std::uint8_t>().value(), 0x9aU);
}

TEST(ByteReader, StopsAtTheEndAndStaysThere) {
  ByteReader reader(kBytes);
  EXPECT_EQ(reader.read_be<std::uint64_t>().error().code, Errc::kTruncated);
  EXPECT_EQ(reader.position(), 0U);
  ASSERT_TRUE(reader.skip(4));
  EXPECT_EQ(reader.read_be<std::uint16_t>().error().code, Errc::kTruncated);
  EXPECT_EQ(reader.take(~std::uint64_t{0}).error().code, Errc::kTruncated);
  EXPECT_EQ(reader.remaining(), 1U);
}

}  // namespace
}  // namespace bulkhead
