// SPDX-License-Identifier: Apache-2.0
#include "seal/zstd_codec.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <zstd.h>

#include <array>

#include "base/mapping.h"
#include "mem/secret_for_test.h"

namespace bulkhead {
namespace {

// A page with the secret, and its packed form, in a mapping that is not searched.
class ZstdCodecTest : public ::testing::Test {
 protected:
  ZstdCodecTest() {
    secret_.write_to(page().data() + 1000);
    std::ranges::copy(page(), other().begin());
  }
  PageBytes page() { return mapping_.bytes().first<kPageSize>(); }
  PageBytes other() { return mapping_.bytes().subspan<kPageSize, kPageSize>(); }
  std::span<std::byte> packed() { return mapping_.bytes().subspan(2 * kPageSize, kPageSize); }
  bool is_left() { return ProcessSearch::finds(secret_, mapping_.bytes()); }

  const Secret secret_;
  Mapping mapping_ = Mapping::create({.size_bytes = 4 * kPageSize,
                                      .protection = PROT_READ | PROT_WRITE,
                                      .flags = MAP_SHARED | MAP_ANONYMOUS})
                         .value();
  ZstdCodec codec_;
};

TEST_F(ZstdCodecTest, PagesComeBack) {
  const std::size_t length = codec_.pack(page(), packed());
  ASSERT_GT(length, 0u);
  ASSERT_LT(length, 300u);
  std::ranges::fill(page(), std::byte{0});
  ASSERT_TRUE(codec_.unpack(packed().first(length), page()));
  EXPECT_TRUE(std::ranges::equal(page(), other()));
}

TEST_F(ZstdCodecTest, WhatIsNotOnePageIsRefused) {
  const std::size_t length = codec_.pack(page(), packed());
  EXPECT_EQ(codec_.pack(page(), packed().first(length - 1)), 0u);
  EXPECT_FALSE(codec_.unpack(packed().first(length - 1), other()));
  EXPECT_FALSE(codec_.unpack({}, other()));
  std::array<std::byte, 64> shorter{};
  const std::size_t half =
      ZSTD_compress(shorter.data(), shorter.size(), page().data(), page().size() / 8, 1);
  EXPECT_FALSE(codec_.unpack(std::span(shorter).first(half), other()));
  const std::array<std::byte, 2 * kPageSize> two{};
  const std::size_t whole = ZSTD_compress(shorter.data(), shorter.size(), &two, sizeof two, 1);
  EXPECT_FALSE(codec_.unpack(std::span(shorter).first(whole), other()));
}

TEST_F(ZstdCodecTest, NoPlaintextIsLeft) {
  ASSERT_FALSE(is_left());
  const std::size_t length = codec_.pack(page(), packed());
  EXPECT_FALSE(is_left());
  ASSERT_TRUE(codec_.unpack(packed().first(length), page()));
  EXPECT_FALSE(is_left());
}

// The controls.
TEST_F(ZstdCodecTest, AContextThatIsNotWipedKeepsPlaintext) {
  ZSTD_CCtx* packing = ZSTD_createCCtx();
  const std::size_t length =
      ZSTD_compressCCtx(packing, packed().data(), kPageSize, page().data(), kPageSize, 1);
  ASSERT_EQ(ZSTD_isError(length), 0u);
  EXPECT_TRUE(is_left());
  ZSTD_freeCCtx(packing);
}

}  // namespace
}  // namespace bulkhead
