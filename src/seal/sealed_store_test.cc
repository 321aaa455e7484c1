// SPDX-License-Identifier: Apache-2.0
#include "seal/sealed_store.h"

#include <gtest/gtest.h>

#include <thread>

#include "seal/memory_medium.h"
#include "seal/store_for_test.h"
#include "seal/zstd_codec.h"

namespace bulkhead {
namespace {

class SealedStoreTest : public testing::Test {
 protected:
  std::unique_ptr<SealedStore> create(std::uint64_t pages) {
    return SealedStore::create(options_for_test(medium, key, &anchor, pages)).value();
  }
  Result<std::unique_ptr<SealedStore>> open() {
    return SealedStore::open(options_for_test(medium, key, &anchor));
  }

  TestMedium medium;
  TestKey key;
  MemoryAnchor anchor;
};

TEST_F(SealedStoreTest, GivesBackWhatWasPut) {
  auto store = create(1000);
  EXPECT_EQ(read_page(*store, 5).value(), page_of(0));
  for (std::uint64_t i = 0; i < 1000; i += 3) {
    ASSERT_TRUE(store->put(PageIndex(i), page_of(i)));
  }
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(read_page(*store, i).value(), page_of(i % 3 == 0 ? i : 0));
  }
  ASSERT_TRUE(store->put(PageIndex(3), page_of(77)));
  store->forget(PageIndex(6));
  EXPECT_EQ(read_page(*store, 3).value(), page_of(77));
  EXPECT_EQ(read_page(*store, 6).value(), page_of(0));
}

TEST_F(SealedStoreTest, OpensAsItWasCommitted) {
  {
    auto store = create(1000);
    for (std::uint64_t i = 1; i < 1000; i += 2) {
      ASSERT_TRUE(store->put(PageIndex(i), page_of(i)));
    }
    ASSERT_TRUE(store->commit());
    ASSERT_TRUE(store->put(PageIndex(1), page_of(4711)));  // not committed
  }
  auto store = open().value();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(read_page(*store, i).value(), page_of(i % 2 == 1 ? i : 0));
  }
  EXPECT_EQ(store->stats().sealed_pages, 500u);
  EXPECT_EQ(store->stats().generation, 2u);
}

TEST_F(SealedStoreTest, HidesWhatItHolds) {
  auto store = create(10);
  const Page page = page_of(9);
  ASSERT_TRUE(store->put(PageIndex(1), page));
  ASSERT_TRUE(store->put(PageIndex(2), page));
  ASSERT_TRUE(store->commit());
  const auto found =
      std::search(medium.bytes.begin(), medium.bytes.end(), page.begin(), page.begin() + 16);
  EXPECT_EQ(found, medium.bytes.end());
}

TEST_F(SealedStoreTest, ZeroPagesAndUnchangedOnesCostNothing) {
  auto store = create(1 << 20);
  ASSERT_TRUE(store->put(PageIndex(7), page_of(1)));
  ASSERT_TRUE(store->commit());
  medium.record = true;
  for (std::uint64_t i = 8; i < 1000; ++i) ASSERT_TRUE(store->put(PageIndex(i), page_of(0)));
  ASSERT_TRUE(store->commit());
  EXPECT_TRUE(medium.history.empty()) << "nothing changed, so nothing is written";
  const std::uint64_t used = store->stats().stored_bytes;
  ASSERT_TRUE(store->put(PageIndex(7), page_of(0)));
  EXPECT_EQ(store->stats().stored_bytes, used - kPageSize);
  ASSERT_TRUE(store->commit());
  // An empty tree has no nodes either.
  EXPECT_EQ(store->stats().stored_bytes, kSuperblocksBytes);
  EXPECT_EQ(open().value()->stats().sealed_pages, 0u);
}

// Puts each page where it is already, and says whether that wrote something.
bool puts_again(SealedStore& store, TestMedium& medium, std::uint64_t page, std::uint64_t number) {
  medium.history.clear();
  medium.record = true;
  EXPECT_TRUE(store.put(PageIndex(page), page_of(number)));
  medium.record = false;
  EXPECT_EQ(read_page(store, page).value(), page_of(number));
  return !medium.history.empty();
}

TEST_F(SealedStoreTest, UnchangedPagesAreNoticedOnlyWhereAsked) {
  for (const bool asked : {false, true}) {
    TestMedium own;
    auto options = options_for_test(own, key, nullptr, 1000);
    options.notice_unchanged = asked;
    auto store = SealedStore::create(options).value();
    ASSERT_TRUE(store->put(PageIndex(7), page_of(1)));
    EXPECT_EQ(puts_again(*store, own, 7, 1), !asked);
    ASSERT_TRUE(store->commit());
    EXPECT_EQ(puts_again(*store, own, 7, 1), !asked);
    ASSERT_TRUE(store->rekey());
    EXPECT_EQ(puts_again(*store, own, 7, 1), !asked);
  }
}

TEST_F(SealedStoreTest, WhatIsNotThereAnyMoreDoesNotCountAsUnchanged) {
  auto options = options_for_test(medium, key, nullptr, 1000);
  options.notice_unchanged = true;
  auto store = SealedStore::create(options).value();
  EXPECT_TRUE(puts_again(*store, medium, 7, 1));
  EXPECT_TRUE(puts_again(*store, medium, 8, 1)) << "another page";
  EXPECT_TRUE(puts_again(*store, medium, 7, 2));
  EXPECT_TRUE(puts_again(*store, medium, 7, 1)) << "not the last content";
  Page nearly = page_of(1);
  nearly[kPageSize - 1] ^= std::byte{1};
  ASSERT_TRUE(store->put(PageIndex(7), nearly));
  EXPECT_EQ(read_page(*store, 7).value(), nearly);
  EXPECT_TRUE(puts_again(*store, medium, 7, 1));
  store->forget(PageIndex(7));
  EXPECT_TRUE(puts_again(*store, medium, 7, 1)) << "forgotten";
  ASSERT_TRUE(store->put(PageIndex(7), page_of(0)));
  EXPECT_TRUE(puts_again(*store, medium, 7, 1)) << "became zeroes";
  medium.fail_writes = true;
  EXPECT_FALSE(store->put(PageIndex(7), page_of(3)));
  medium.fail_writes = false;
  EXPECT_TRUE(puts_again(*store, medium, 7, 3)) << "was not stored";
}

TEST_F(SealedStoreTest, RefusesPagesThatItDoesNotHave) {
  auto store = create(10);
  EXPECT_EQ(store->put(PageIndex(10), page_of(1)).error().code, Errc::kOutOfRange);
  EXPECT_EQ(read_page(*store, ~std::uint64_t{0}).error().code, Errc::kOutOfRange);
  store->forget(PageIndex(10));
}

TEST_F(SealedStoreTest, EachMistakeHasItsOwnError) {
  EXPECT_EQ(open().error().code, Errc::kTruncated);
  EXPECT_EQ(SealedStore::create(options_for_test(medium, key)).error().code,
            Errc::kInvalidArgument);
  const StoreId id = create(10)->id();
  EXPECT_EQ(SealedStore::create(options_for_test(medium, key, nullptr, 10)).error().code,
            Errc::kExists);
  TestKey other(2);
  EXPECT_EQ(SealedStore::open(options_for_test(medium, other)).error().code, Errc::kPermission);
  auto options = options_for_test(medium, key, &anchor);
  options.purpose = kDiskPurpose;
  EXPECT_EQ(SealedStore::open(options).error().code, Errc::kInvalidArgument);
  options.purpose = kMemoryPurpose;
  options.page_count = 11;
  EXPECT_EQ(SealedStore::open(options).error().code, Errc::kInvalidArgument);
  options.page_count = 0;
  options.store = StoreId::random().value();
  EXPECT_EQ(SealedStore::open(options).error().code, Errc::kInvalidArgument);
  options.store = id;
  EXPECT_TRUE(SealedStore::open(options));
  MemoryAnchor empty;
  EXPECT_EQ(SealedStore::open(options_for_test(medium, key, &empty)).error().code, Errc::kNotFound);
  medium.bytes[superblock_offset(1) + 8] = std::byte{2};
  EXPECT_EQ(open().error().code, Errc::kUnsupported);
  medium.bytes[superblock_offset(1)] = std::byte{'b'};
  EXPECT_EQ(open().error().code, Errc::kMalformed);
}

TEST_F(SealedStoreTest, ReadersDoNotWrite) {
  {
    auto store = create(10);
    ASSERT_TRUE(store->put(PageIndex(1), page_of(1)));
    ASSERT_TRUE(store->commit());
  }
  medium.record = true;
  auto options = options_for_test(medium, key, &anchor);
  options.read_only = true;
  auto store = SealedStore::open(options).value();
  EXPECT_EQ(read_page(*store, 1).value(), page_of(1));
  EXPECT_EQ(store->put(PageIndex(1), page_of(2)).error().code, Errc::kPermission);
  store->forget(PageIndex(1));
  EXPECT_EQ(store->commit().error().code, Errc::kPermission);
  EXPECT_EQ(store->rekey().error().code, Errc::kPermission);
  EXPECT_EQ(store->erase().error().code, Errc::kPermission);
  EXPECT_EQ(read_page(*store, 1).value(), page_of(1));
  EXPECT_TRUE(medium.history.empty());
}

TEST_F(SealedStoreTest, WorksWithAlmostNoCache) {
  auto options = options_for_test(medium, key, &anchor, 128 * 300);
  options.cached_nodes = 1;
  {
    auto store = SealedStore::create(options).value();
    for (int round = 0; round < 2; ++round) {
      for (std::uint64_t i = 0; i < 300; ++i) {
        ASSERT_TRUE(store->put(PageIndex(i * 128 + i % 128), page_of(i + 1)));
      }
    }
    for (std::uint64_t i = 0; i < 300; ++i) {
      EXPECT_EQ(read_page(*store, i * 128 + i % 128).value(), page_of(i + 1));
    }
    ASSERT_TRUE(store->commit());
  }
  options.page_count = 0;
  auto store = SealedStore::open(options).value();
  for (std::uint64_t i = 0; i < 300; ++i) {
    EXPECT_EQ(read_page(*store, i * 128 + i % 128).value(), page_of(i + 1));
  }
  EXPECT_EQ(store->stats().sealed_pages, 300u);
  // Pages, leaves, three nodes above them and the root.
  EXPECT_EQ(store->stats().stored_bytes, kSuperblocksBytes + (300 + 300 + 3 + 1) * kPageSize);
}

TEST_F(SealedStoreTest, SpaceIsUsedAgain) {
  auto store = create(256);
  std::uint64_t size = 0;
  for (std::uint64_t round = 1; round <= 40; ++round) {
    for (std::uint64_t i = 0; i < 256; ++i) {
      ASSERT_TRUE(store->put(PageIndex(i), page_of(round * 256 + i)));
    }
    ASSERT_TRUE(store->commit());
    if (round == 5) size = medium.size();
  }
  EXPECT_EQ(medium.size(), size);
  store->trim();
  EXPECT_GT(medium.discarded, 0u);
  EXPECT_EQ(read_page(*open().value(), 255).value(), page_of(40 * 256 + 255));
}

TEST_F(SealedStoreTest, ANewKeySealsEverythingAnew) {
  auto store = create(1000);
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(store->put(PageIndex(i), page_of(i + 1)));
  ASSERT_TRUE(store->commit());
  store.reset();
  store = open().value();
  ASSERT_TRUE(store->put(PageIndex(1), page_of(5)));
  ASSERT_TRUE(store->commit());
  EXPECT_EQ(store->stats().sessions, 2u);
  ASSERT_TRUE(store->rekey());
  EXPECT_EQ(store->stats().sessions, 1u);
  ASSERT_TRUE(store->put(PageIndex(1), page_of(2)));
  ASSERT_TRUE(store->commit());
  store = open().value();
  EXPECT_EQ(store->stats().sessions, 2u);
  for (std::uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(read_page(*store, i).value(), page_of(i + 1));
}

TEST_F(SealedStoreTest, ASpentKeyIsReplaced) {
  auto options = options_for_test(medium, key, &anchor, 64);
  options.session_uses = 50;
  auto store = SealedStore::create(options).value();
  for (std::uint64_t i = 0; i < 400; ++i) {
    ASSERT_TRUE(store->put(PageIndex(i % 64), page_of(i + 1)));
    if (i % 49 != 0) continue;
    ASSERT_TRUE(store->commit());
  }
  ASSERT_TRUE(store->commit());
  EXPECT_GE(store->stats().sessions, 2u);
  store.reset();
  store = open().value();
  for (std::uint64_t i = 336; i < 400; ++i) {
    EXPECT_EQ(read_page(*store, i % 64).value(), page_of(i + 1));
  }
}

TEST_F(SealedStoreTest, TheTableOfSessionsNeverOverflows) {
  auto store = create(400);
  for (std::uint64_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(store->put(PageIndex(i), page_of(i + 1)));
    ASSERT_TRUE(store->commit());
    store.reset();
    auto opened = open();
    ASSERT_TRUE(opened) << i << ": " << opened.error().what;
    store = std::move(*opened);
  }
  EXPECT_LT(store->stats().sessions, kMaxSessions);
  EXPECT_GT(store->stats().sessions, kMaxSessions / 2);
  for (std::uint64_t i = 0; i < 300; ++i) EXPECT_EQ(read_page(*store, i).value(), page_of(i + 1));
}

TEST_F(SealedStoreTest, AfterErasureTheKeyOpensNothing) {
  auto store = create(1000);
  ASSERT_TRUE(store->put(PageIndex(1), page_of(1)));
  ASSERT_TRUE(store->commit());
  const std::vector<std::byte> before = medium.bytes;
  medium.record = true;
  ASSERT_TRUE(store->erase());
  // Both superblocks and a sync, however large the store.
  ASSERT_EQ(medium.history.size(), 3u);
  EXPECT_TRUE(medium.history[2].is_sync);
  EXPECT_EQ(read_page(*store, 1).error().code, Errc::kClosed);
  EXPECT_EQ(store->put(PageIndex(1), page_of(1)).error().code, Errc::kClosed);
  EXPECT_EQ(store->commit().error().code, Errc::kClosed);
  EXPECT_EQ(SealedStore::open(options_for_test(medium, key)).error().code, Errc::kMalformed);
  EXPECT_EQ(anchor.newest(store->id()).error().code, Errc::kNotFound);
  // The control: with the salts put back, it would all be there.
  std::copy_n(before.begin(), kSuperblocksBytes, medium.bytes.begin());
  auto again = SealedStore::open(options_for_test(medium, key));
  ASSERT_TRUE(again);
  EXPECT_EQ(read_page(**again, 1).value(), page_of(1));
}

TEST_F(SealedStoreTest, CompressedPagesAreShorterAndComeBack) {
  ZstdCodec codec;
  auto options = options_for_test(medium, key, &anchor, 100);
  options.codec = &codec;
  std::array<Page, 3> pages{};
  pages[0].fill(std::byte{'a'});                            // 1 KiB
  std::copy_n(page_of(1).begin(), 1500, pages[1].begin());  // 2 KiB
  pages[2] = page_of(2);                                    // 4 KiB
  auto store = SealedStore::create(options).value();
  const std::uint64_t before = store->stats().stored_bytes;
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(store->put(PageIndex(i), pages[i]));
  EXPECT_EQ(store->stats().stored_bytes, before + 7 * kKiB);
  ASSERT_TRUE(store->commit());
  options.page_count = 0;
  store = SealedStore::open(options).value();
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(read_page(*store, i).value(), pages[i]);
  options.codec = nullptr;
  store = SealedStore::open(options).value();
  EXPECT_EQ(read_page(*store, 0).error().code, Errc::kUnsupported);
  EXPECT_EQ(read_page(*store, 2).value(), pages[2]);
}

TEST_F(SealedStoreTest, LivesInMemory) {
  auto memory = MemoryMedium::create(4 * kMiB).value();
  auto store = SealedStore::create(options_for_test(memory, key, nullptr, 4096)).value();
  std::uint64_t put = 0;
  while (store->put(PageIndex(put), page_of(put + 1))) ++put;
  EXPECT_GT(put, 1000u);
  EXPECT_EQ(store->put(PageIndex(put), page_of(9)).error().code, Errc::kExhausted);
  for (std::uint64_t i = 0; i < put; ++i) EXPECT_EQ(read_page(*store, i).value(), page_of(i + 1));
  for (std::uint64_t i = 0; i < put; ++i) store->forget(PageIndex(i));
  store->trim();
  EXPECT_LT(memory.resident_bytes(), 64 * kKiB);
  ASSERT_TRUE(store->put(PageIndex(put), page_of(9)));
  EXPECT_EQ(read_page(*store, put).value(), page_of(9));
}

TEST_F(SealedStoreTest, SeveralThreadsAtOnce) {
  auto options = options_for_test(medium, key, &anchor, 128 * 8);
  options.cached_nodes = 1;
  options.session_uses = 1500;
  auto store = SealedStore::create(options).value();
  const auto work = [&](std::uint64_t first) {
    std::mt19937_64 random(first);
    std::vector<std::uint64_t> content(512);
    for (int step = 0; step < 1500; ++step) {
      const std::uint64_t i = random() % content.size();
      const PageIndex page(i * 2 + first);  // neighbours in the same nodes are the other thread's
      if (random() % 3 == 0) {
        content[i] = random() % 4 == 0 ? 0 : random() | 1;
        ASSERT_TRUE(store->put(page, page_of(content[i])));
      } else if (random() % 40 == 0) {
        ASSERT_TRUE(store->commit());
      } else {
        ASSERT_EQ(read_page(*store, page.value()).value(), page_of(content[i]));
      }
    }
  };
  std::thread one(work, 0);
  std::thread two(work, 1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(store->rekey());
  one.join();
  two.join();
  ASSERT_TRUE(store->commit());
  EXPECT_EQ(first_error(*open().value()), std::nullopt);
}

}  // namespace
}  // namespace bulkhead
