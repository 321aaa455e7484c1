// SPDX-License-Identifier: Apache-2.0
// Whoever can write to the medium: whatever is done to a store, a page is what was put last, or
// nothing. Each attack has a control in which it succeeds because the defence is missing.

#include <gtest/gtest.h>

#include <numeric>

#include "base/byte_reader.h"
#include "seal/flat_store_for_test.h"
#include "seal/sealed_store.h"
#include "seal/store_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kPages = 4;
using Bytes = std::vector<std::byte>;

enum class Outcome { kSame, kRefused, kWrong };

// Two generations of a small store, as they lay on the medium.
class StoreAttack : public testing::Test {
 protected:
  StoreAttack() {
    TestMedium medium;
    auto store = SealedStore::create(options_for_test(medium, key, &anchor, kPages)).value();
    for (std::uint64_t i = 0; i < 3; ++i) CHECK(store->put(PageIndex(i), page_of(i + 10)));
    CHECK(store->commit());
    older = medium.bytes;
    older_mark = anchor.newest(store->id()).value();
    for (std::uint64_t i = 1; i < 3; ++i) CHECK(store->put(PageIndex(i), page_of(i + 20)));
    CHECK(store->commit());
    newer = medium.bytes;
    live_bytes = store->stats().stored_bytes - kSuperblocksBytes;
    generation = store->stats().generation;
    id = store->id();
  }

  static Page expected(std::uint64_t page) {
    return page_of(page == 0 ? 10 : page == 3 ? 0 : page + 20);
  }

  Result<std::unique_ptr<SealedStore>> open(Medium& medium, bool anchored = true) {
    anchor_copy = anchor;
    return SealedStore::open(options_for_test(medium, key, anchored ? &anchor_copy : nullptr));
  }

  Outcome outcome(Bytes bytes, bool anchored = true) {
    TestMedium medium(std::move(bytes));
    auto store = open(medium, anchored);
    if (!store) return Outcome::kRefused;
    Outcome all = Outcome::kSame;
    for (std::uint64_t i = 0; i < kPages; ++i) {
      const auto page = read_page(**store, i);
      if (page && *page != expected(i)) return Outcome::kWrong;
      if (!page) all = Outcome::kRefused;
    }
    return all;
  }

  std::size_t end() const { return get_le<std::uint64_t>(newer, newest_superblock() + 80); }
  std::size_t newest_superblock() const { return superblock_offset(generation); }

  TestKey key;
  MemoryAnchor anchor;
  MemoryAnchor anchor_copy;
  Bytes older;
  Bytes newer;
  AnchorMark older_mark;
  std::uint64_t live_bytes = 0;
  std::uint64_t generation = 0;
  StoreId id;
};

TEST_F(StoreAttack, WithoutAnAttackItOpens) {
  EXPECT_EQ(outcome(newer), Outcome::kSame);
  ASSERT_EQ(live_bytes, 4 * kPageSize) << "three pages and a node";
}

TEST_F(StoreAttack, AFlippedBitOfABlockIsNoticed) {
  std::size_t refused = 0;
  std::size_t tried = 0;
  for (std::size_t at = kSuperblocksBytes; at < end(); at += kExhaustiveStep, ++tried) {
    Bytes bytes = newer;
    bytes[at] ^= std::byte{1} << at % 8;
    const Outcome result = outcome(std::move(bytes));
    ASSERT_NE(result, Outcome::kWrong) << at;
    refused += result == Outcome::kRefused ? 1 : 0;
  }
  // Every byte that is in use; the others are of the older state.
  EXPECT_GT(tried, refused);
  if (kExhaustiveStep == 1) {
    EXPECT_EQ(refused, live_bytes);
  }
}

TEST_F(StoreAttack, AFlippedBitOfASuperblockIsNoticed) {
  for (std::size_t at = 0; at < Superblock::kBytes; at += kExhaustiveStep) {
    Bytes bytes = newer;
    bytes[newest_superblock() + at] ^= std::byte{1} << at % 8;
    ASSERT_EQ(outcome(std::move(bytes)), Outcome::kRefused) << at;
  }
  // The other one is not needed.
  for (std::size_t at = 0; at < Superblock::kBytes; at += 61) {
    Bytes bytes = newer;
    bytes[superblock_offset(generation + 1) + at] ^= std::byte{1} << at % 8;
    ASSERT_EQ(outcome(std::move(bytes)), Outcome::kSame) << at;
  }
}

// The control: GCM without the comparison of its tag gives the page with the bit flipped.
TEST_F(StoreAttack, ControlAFlippedBitWithoutTags) {
  const Page page = page_of(1);
  const SecretBytes secret = SecretBytes::random(kAeadKeyBytes).value();
  Aead aead = Aead::create(secret).value();
  AeadCounter counter(2);
  const AeadNonce nonce{};
  Page ciphertext;
  ASSERT_TRUE(aead.seal(counter.take().value(), {.nonce = nonce, .associated = {}, .text = page},
                        ciphertext));
  ciphertext[100] ^= std::byte{4};
  // CTR mode: sealing the ciphertext once more under the same nonce takes the key stream off.
  Page opened;
  ASSERT_TRUE(aead.seal(counter.take().value(),
                        {.nonce = nonce, .associated = {}, .text = ciphertext}, opened));
  EXPECT_EQ(opened[100], page[100] ^ std::byte{4});
  opened[100] = page[100];
  EXPECT_EQ(opened, page);
}

TEST_F(StoreAttack, EveryTruncationIsNoticed) {
  for (std::size_t length = 0; length <= newer.size(); length += 512) {
    for (std::size_t odd : std::vector<std::size_t>{0, 1, 511}) {
      if (length + odd > newer.size()) continue;
      Bytes bytes(newer.begin(), newer.begin() + static_cast<std::ptrdiff_t>(length + odd));
      const bool whole = bytes.size() >= end();
      ASSERT_EQ(outcome(std::move(bytes)), whole ? Outcome::kSame : Outcome::kRefused) << length;
    }
  }
  TestMedium medium(Bytes(newer.begin(), newer.begin() + static_cast<std::ptrdiff_t>(end()) - 1));
  EXPECT_EQ(open(medium).error().code, Errc::kTruncated);
}

void swap_slots(Bytes& bytes, std::size_t one, std::size_t other) {
  std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(one),
                   bytes.begin() + static_cast<std::ptrdiff_t>(one + kPageSize),
                   bytes.begin() + static_cast<std::ptrdiff_t>(other));
}

void copy_slot(const Bytes& from, std::size_t source, Bytes& to, std::size_t target) {
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(source), kPageSize,
              to.begin() + static_cast<std::ptrdiff_t>(target));
}

TEST_F(StoreAttack, NoTwoBlocksCanBeSwapped) {
  std::size_t same = 0;
  std::size_t pairs = 0;
  for (std::size_t one = kSuperblocksBytes; one < end(); one += kPageSize) {
    for (std::size_t other = one + kPageSize; other < end(); other += kPageSize, ++pairs) {
      Bytes bytes = newer;
      swap_slots(bytes, one, other);
      const Outcome result = outcome(std::move(bytes));
      ASSERT_NE(result, Outcome::kWrong);
      same += result == Outcome::kSame ? 1 : 0;
    }
  }
  // Only two blocks that are both not in use may be swapped.
  const std::size_t unused = (end() - kSuperblocksBytes - live_bytes) / kPageSize;
  EXPECT_GT(pairs, 0u);
  EXPECT_EQ(same, unused * (unused - 1) / 2);
}

TEST_F(StoreAttack, NoOldBlockCanBePutBack) {
  for (std::size_t source = kSuperblocksBytes; source < end(); source += kPageSize) {
    for (std::size_t target = kSuperblocksBytes; target < end(); target += kPageSize) {
      Bytes bytes = newer;
      copy_slot(older, source, bytes, target);
      ASSERT_NE(outcome(std::move(bytes)), Outcome::kWrong);
    }
  }
}

TEST(StoreAttackControl, WithoutATreeSwappingAndPuttingBackSucceed) {
  FlatStore store(2);
  store.put(0, page_of(1));
  store.put(1, page_of(2));
  const Bytes before = store.bytes;
  std::ranges::swap_ranges(store.slot_of(0), store.slot_of(1));
  EXPECT_EQ(store.get(0).value(), page_of(2));
  store.bytes = before;
  store.put(0, page_of(3));
  std::copy_n(before.begin(), FlatStore::kSlotBytes, store.bytes.begin());
  EXPECT_EQ(store.get(0).value(), page_of(1));
}

TEST_F(StoreAttack, AnOldSuperblockIsNoticed) {
  // The newest one destroyed, or replaced by its predecessor's predecessor.
  Bytes bytes = newer;
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(newest_superblock()), Superblock::kBytes,
              std::byte{0});
  TestMedium medium(bytes);
  EXPECT_EQ(open(medium).error().code, Errc::kRolledBack);
  std::copy_n(older.begin() + static_cast<std::ptrdiff_t>(newest_superblock()), Superblock::kBytes,
              bytes.begin() + static_cast<std::ptrdiff_t>(newest_superblock()));
  TestMedium medium2(bytes);
  EXPECT_EQ(open(medium2).error().code, Errc::kRolledBack);
  // The control: without an anchor it is the state before, as if nothing had happened.
  EXPECT_EQ(outcome(bytes, false), Outcome::kWrong);
}

TEST_F(StoreAttack, AWholeOldStoreIsNoticed) {
  TestMedium medium(older);
  EXPECT_EQ(open(medium).error().code, Errc::kRolledBack);
  EXPECT_EQ(outcome(older, false), Outcome::kWrong) << "the control: no anchor, no notice";
}

TEST_F(StoreAttack, AnOldAnchorIsNoticed) {
  MemoryAnchor old_anchor;
  ASSERT_TRUE(old_anchor.advance(id, {.generation = generation - 2, .tag = {}}));
  TestMedium medium(newer);
  EXPECT_EQ(SealedStore::open(options_for_test(medium, key, &old_anchor)).error().code,
            Errc::kRolledBack);
}

// A commit that was cut off before it was anchored, kept by the attacker, and put in the place of
// the commit that was made instead: of the same number, but another state.
TEST_F(StoreAttack, AStateThatNeverWasIsNoticed) {
  const auto commit_from = [&](const Bytes& bytes, MemoryAnchor& with, std::uint64_t content) {
    TestMedium medium(bytes);
    auto store = SealedStore::open(options_for_test(medium, key, &with)).value();
    CHECK(store->put(PageIndex(1), page_of(content)));
    CHECK(store->commit());
    return medium.bytes;
  };
  MemoryAnchor cut_off = anchor;
  const Bytes never = commit_from(newer, cut_off, 66);
  const Bytes real = commit_from(newer, anchor, 67);
  TestMedium medium(never);
  EXPECT_EQ(open(medium).error().code, Errc::kRolledBack);
  TestMedium medium2(real);
  ASSERT_TRUE(open(medium2));
  // The control: whoever compares numbers only is deceived.
  EXPECT_EQ(cut_off.newest(id)->generation, anchor.newest(id)->generation);
  TestMedium medium3(never);
  EXPECT_EQ(read_page(*open(medium3, false).value(), 1).value(), page_of(66));
}

TEST_F(StoreAttack, NoPartOfAnotherStoreFits) {
  TestMedium other_medium;
  auto other = SealedStore::create(options_for_test(other_medium, key, nullptr, kPages)).value();
  for (std::uint64_t round = 0; round < 2; ++round) {
    for (std::uint64_t i = 0; i < 3; ++i) CHECK(other->put(PageIndex(i), page_of(i + 90)));
    CHECK(other->commit());
  }
  const Bytes& foreign = other_medium.bytes;
  for (std::size_t at = kSuperblocksBytes; at < end(); at += kPageSize) {
    for (std::size_t from = kSuperblocksBytes; from < end(); from += kPageSize) {
      Bytes bytes = newer;
      copy_slot(foreign, from, bytes, at);
      ASSERT_NE(outcome(std::move(bytes)), Outcome::kWrong);
    }
  }
  for (std::size_t at : {std::size_t{0}, Superblock::kBytes}) {
    Bytes bytes = newer;
    std::copy_n(foreign.begin() + static_cast<std::ptrdiff_t>(at), Superblock::kBytes,
                bytes.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_EQ(outcome(bytes), Outcome::kRefused);
    EXPECT_EQ(outcome(bytes, false), Outcome::kRefused) << "two stores at once";
  }
  // All of it: the anchor knows its own store.
  TestMedium medium(foreign);
  EXPECT_EQ(open(medium).error().code, Errc::kNotFound);
}

// Random damage, and damage that keeps a superblock valid: it is signed with the key again. Even
// whoever has the key gets no crash, no endless loop and no page that nobody put.
class HostileStore : public StoreAttack {
 protected:
  Bytes resigned(const std::function<void(Superblock&)>& change) {
    TestMedium medium(newer);
    const SealScope scope{kMemoryPurpose, id};
    const SecretBytes secret = key.key().value();
    const auto keys = SuperblockKeys::derive(secret, scope).value();
    const std::span place =
        std::span(medium.bytes).subspan(newest_superblock()).first<Superblock::kBytes>();
    auto content = decode_superblock(place, scope, keys).value().content;
    change(content);
    CHECK(encode_superblock(content, scope, keys, place));
    return medium.bytes;
  }
};

TEST_F(HostileStore, RandomDamageEndsWell) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 3000; ++round) {
    Bytes bytes = newer;
    for (std::uint64_t n = random() % 4; n < 4; ++n) {
      const std::size_t at = random() % end();
      const std::size_t length = std::min<std::size_t>(random() % 5000, end() - at);
      for (std::size_t i = 0; i < length; ++i) {
        bytes[at + i] = static_cast<std::byte>(random());
      }
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    ASSERT_NE(outcome(std::move(bytes)), Outcome::kWrong);
  }
}

TEST_F(HostileStore, ASignedLieIsRefused) {
  ASSERT_EQ(outcome(resigned([](Superblock&) {}), false), Outcome::kSame);
  const auto refused = [&](const std::function<void(Superblock&)>& change) {
    TestMedium medium(resigned(change));
    auto store = open(medium, false);
    // The state before may take its place: the newest one is no superblock.
    return !store || (*store)->stats().generation != generation;
  };
  EXPECT_TRUE(refused([](Superblock& s) { s.page_count = 0; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.page_count = ~std::uint64_t{0}; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.page_count = TreeShape::kMaxPages; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.page_count = 2; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.generation = 0; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.end_bytes = 0; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.end_bytes = ~std::uint64_t{0}; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.root = TreeEntry(); })) << "live blocks left over";
  EXPECT_TRUE(refused([](Superblock& s) { ++s.sessions[0].live; }));
  EXPECT_TRUE(refused([](Superblock& s) { s.sessions[200].live = 1; }));
  EXPECT_TRUE(refused([](Superblock& s) { std::swap(s.sessions[0], s.sessions[1]); }));
  EXPECT_TRUE(refused(
      [](Superblock& s) { s.root = TreeEntry(999, s.root.slot(), s.root.kind(), s.root.seal()); }));
  for (std::uint64_t slot :
       {std::uint64_t{0}, std::uint64_t{31}, std::uint64_t{33}, (std::uint64_t{1} << 48) - 4}) {
    EXPECT_TRUE(refused([slot](Superblock& s) {
      s.root = TreeEntry(s.root.session(), SlotIndex(slot), s.root.kind(), s.root.seal());
    }));
  }
}

// Nodes, too, sealed with the key: entries that name one block twice, blocks outside of the store,
// the node itself (a loop), pages that there are not.
TEST_F(HostileStore, ALyingNodeIsRefused) {
  const SecretBytes secret = key.key().value();
  std::mt19937_64 random(2);
  int opened = 0;
  for (int round = 0; round < 500; ++round) {
    TestMedium medium(newer);
    const Bytes bytes = resigned([&](Superblock& s) {
      auto sealer = PageSealer::create({.partition_key = secret,
                                        .scope = SealScope{kMemoryPurpose, id},
                                        .salt = s.sessions[s.root.session()].salt})
                        .value();
      TreeNode node;
      const std::span ciphertext =
          std::span(medium.bytes).subspan(s.root.slot().offset_bytes()).first(kPageSize);
      CHECK(sealer->open({SealPlace::node(1, 0), PageKind::kPlain, ciphertext}, s.root.seal(),
                         node.bytes()));
      const auto victim = random() % (random() % 2 == 0 ? 4 : kTreeFanout);
      switch (random() % 4) {
        case 0:
          node.entries[victim] = node.entries[random() % 3];
          break;
        case 1:
          node.entries[victim] = s.root;
          break;
        case 2:
          node.bytes()[random() % kPageSize] = static_cast<std::byte>(random());
          break;
        default:
          node.entries[victim] =
              TreeEntry(random() % 4, SlotIndex(random() % 64), static_cast<PageKind>(random() % 5),
                        node.entries[random() % 3].seal());
      }
      const PageSeal seal =
          sealer->seal({SealPlace::node(1, 0), PageKind::kPlain, node.bytes()}, ciphertext).value();
      s.root = TreeEntry(s.root.session(), s.root.slot(), PageKind::kPlain, seal);
    });
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(newest_superblock()),
                Superblock::kBytes,
                medium.bytes.begin() + static_cast<std::ptrdiff_t>(newest_superblock()));
    const Outcome result = outcome(medium.bytes, false);
    ASSERT_NE(result, Outcome::kWrong) << round;
    opened += result == Outcome::kSame ? 1 : 0;
  }
  EXPECT_LT(opened, 100) << "most lies are noticed; the others changed nothing";
}

}  // namespace
}  // namespace bulkhead
