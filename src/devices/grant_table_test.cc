// SPDX-License-Identifier: Apache-2.0
#include "devices/grant_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

constexpr GranteeId kTools = GranteeId::kHostTools;
constexpr GranteeId kSeven{7};
constexpr GranteeId kEight{8};
constexpr GrantRights kReadOnly{.read = true, .write = false};
constexpr GrantRights kWriteOnly{.read = false, .write = true};
constexpr GrantRights kBoth{.read = true, .write = true};
constexpr GrantAccess kRead = GrantAccess::kRead;
constexpr GrantAccess kWrite = GrantAccess::kWrite;

Grant pages(std::uint64_t first, std::uint64_t count, GranteeId grantee, GrantRights rights) {
  return {Gfn(first), count, grantee, rights};
}
Errc error_of(const Result<GrantHandle>& result) {
  return result ? Errc::kIo : result.error().code;
}

TEST(GrantTable, AllowsWhatWasGranted) {
  GrantTable table;
  EXPECT_FALSE(table.may(kTools, Gfn(10), 1, kRead));
  ASSERT_TRUE(table.add(pages(10, 5, kTools, kReadOnly)));
  EXPECT_TRUE(table.may(kTools, Gfn(10), 5, kRead));
  EXPECT_TRUE(table.may(kTools, Gfn(12), 1, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(12), 1, kWrite));
  EXPECT_FALSE(table.may(kTools, Gfn(9), 2, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(14), 2, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(9), 7, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(15), 1, kRead));
  EXPECT_FALSE(table.may(kSeven, Gfn(12), 1, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(12), 0, kRead));
}

TEST(GrantTable, WritingIsNotReading) {
  GrantTable table;
  ASSERT_TRUE(table.add(pages(0, 1, kSeven, kWriteOnly)));
  EXPECT_TRUE(table.may(kSeven, Gfn(0), 1, kWrite));
  EXPECT_FALSE(table.may(kSeven, Gfn(0), 1, kRead));
}

TEST(GrantTable, RevokedIsRevoked) {
  GrantTable table;
  const GrantHandle first = table.add(pages(10, 5, kTools, kBoth)).value();
  const GrantHandle second = table.add(pages(20, 5, kTools, kBoth)).value();
  EXPECT_NE(first, GrantHandle::kNone);
  EXPECT_NE(first, second);
  ASSERT_TRUE(table.remove(first));
  EXPECT_FALSE(table.may(kTools, Gfn(10), 1, kRead));
  EXPECT_TRUE(table.may(kTools, Gfn(20), 5, kWrite));
  EXPECT_FALSE(table.remove(first));
  EXPECT_FALSE(table.remove(GrantHandle::kNone));
  EXPECT_NE(table.add(pages(10, 5, kTools, kBoth)).value(), first);
  table.clear();
  EXPECT_FALSE(table.may(kTools, Gfn(20), 1, kRead));
  EXPECT_EQ(table.size(), 0u);
}

TEST(GrantTable, AdjacentGrantsAddUp) {
  GrantTable table;
  ASSERT_TRUE(table.add(pages(20, 10, kTools, kBoth)));
  ASSERT_TRUE(table.add(pages(10, 10, kTools, kReadOnly)));
  ASSERT_TRUE(table.add(pages(31, 9, kTools, kBoth)));
  EXPECT_TRUE(table.may(kTools, Gfn(10), 20, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(19), 2, kWrite));
  EXPECT_FALSE(table.may(kTools, Gfn(10), 30, kRead));  // page 30 is missing
  EXPECT_FALSE(table.may(kTools, Gfn(30), 1, kRead));
}

TEST(GrantTable, GrantsToOneGranteeDoNotOverlap) {
  GrantTable table;
  ASSERT_TRUE(table.add(pages(10, 5, kSeven, kReadOnly)));
  for (const auto& [first, count] :
       {std::pair(10, 5), {9, 2}, {14, 1}, {14, 9}, {11, 2}, {0, 100}, {10, 1}}) {
    EXPECT_EQ(error_of(table.add(pages(static_cast<std::uint64_t>(first),
                                       static_cast<std::uint64_t>(count), kSeven, kBoth))),
              Errc::kExists);
  }
  EXPECT_TRUE(table.add(pages(9, 1, kSeven, kBoth)));
  EXPECT_TRUE(table.add(pages(15, 1, kSeven, kBoth)));
  EXPECT_TRUE(table.add(pages(0, 100, kEight, kBoth)));  // another grantee
  EXPECT_TRUE(table.add(pages(0, 100, kTools, kBoth)));
}

TEST(GrantTable, RefusesNonsense) {
  GrantTable table;
  EXPECT_EQ(error_of(table.add(pages(1, 0, kTools, kBoth))), Errc::kInvalidArgument);
  EXPECT_EQ(error_of(table.add(pages(1, 1, kTools, {}))), Errc::kInvalidArgument);
  const std::uint64_t end = GrantTable::kPageLimit;
  const std::uint64_t top = ~std::uint64_t{0};
  EXPECT_EQ(error_of(table.add(pages(end, 1, kTools, kBoth))), Errc::kOutOfRange);
  EXPECT_EQ(error_of(table.add(pages(end - 1, 2, kTools, kBoth))), Errc::kOutOfRange);
  EXPECT_EQ(error_of(table.add(pages(1, top, kTools, kBoth))), Errc::kOutOfRange);
  EXPECT_EQ(error_of(table.add(pages(top, 2, kTools, kBoth))), Errc::kOutOfRange);
  ASSERT_TRUE(table.add(pages(end - 1, 1, kTools, kBoth)));
  EXPECT_TRUE(table.may(kTools, Gfn(end - 1), 1, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(end - 1), 2, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(end - 1), top, kRead));
  EXPECT_FALSE(table.may(kTools, Gfn(top), 2, kRead));
}

TEST(GrantTable, IsBounded) {
  GrantTable table;
  for (std::uint64_t i = 0; i < GrantTable::kCapacity; ++i) {
    ASSERT_TRUE(table.add(pages(i, 1, kTools, kBoth)));
  }
  EXPECT_EQ(error_of(table.add(pages(1000, 1, kTools, kBoth))), Errc::kExhausted);
  EXPECT_TRUE(table.may(kTools, Gfn(0), GrantTable::kCapacity, kWrite));
  ASSERT_TRUE(table.remove(table.next(GrantHandle::kNone)->handle));
  EXPECT_TRUE(table.add(pages(1000, 1, kTools, kBoth)));
}

TEST(GrantTable, ListsByHandle) {
  GrantTable table;
  EXPECT_FALSE(table.next(GrantHandle::kNone));
  const GrantHandle high = table.add(pages(50, 1, kEight, kBoth)).value();
  const GrantHandle low = table.add(pages(10, 2, kTools, kReadOnly)).value();
  EXPECT_EQ(table.next(GrantHandle::kNone)->handle, high);  // the older one
  EXPECT_EQ(table.next(low)->handle, low);
  EXPECT_EQ(table.next(low)->grant, pages(10, 2, kTools, kReadOnly));
  EXPECT_FALSE(table.next(GrantHandle{static_cast<std::uint32_t>(low) + 1}));
}

TEST(GrantTable, SaveAndRestore) {
  GrantTable table;
  ASSERT_TRUE(table.add(pages(10, 5, kTools, kReadOnly)));
  const GrantHandle gone = table.add(pages(20, 5, kSeven, kBoth)).value();
  ASSERT_TRUE(table.add(pages(30, 5, kSeven, kWriteOnly)));
  ASSERT_TRUE(table.remove(gone));
  const std::vector<std::byte> state = state_of(table);
  GrantTable other;
  ASSERT_TRUE(other.add(pages(77, 1, kTools, kBoth)));
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(other, std::span(state).first(length)));
  }
  EXPECT_TRUE(other.may(kTools, Gfn(77), 1, kRead));  // a bad state changes nothing
  ASSERT_TRUE(restore_state(other, state));
  EXPECT_EQ(state_of(other), state);
  EXPECT_FALSE(other.may(kTools, Gfn(77), 1, kRead));
  EXPECT_TRUE(other.may(kSeven, Gfn(30), 5, kWrite));
  EXPECT_FALSE(other.may(kSeven, Gfn(20), 1, kRead));
  EXPECT_GT(other.add(pages(1, 1, kTools, kBoth)).value(), gone);
}

// One entry has 4 + 8 + 8 + 4 + 1 bytes, behind a head of 12.
TEST(GrantTable, RestoreRefusesImpossibleEntries) {
  GrantTable table;
  ASSERT_TRUE(table.add(pages(10, 5, kTools, kReadOnly)));
  ASSERT_TRUE(table.add(pages(20, 5, kTools, kReadOnly)));
  const std::vector<std::byte> good = state_of(table);
  ASSERT_EQ(good.size(), 62u);
  const auto refused = [&](std::size_t offset, unsigned value) {
    std::vector<std::byte> bad = good;
    bad[offset] = static_cast<std::byte>(value);
    GrantTable other;
    return !restore_state(other, bad);
  };
  EXPECT_TRUE(refused(0, 2));       // version
  EXPECT_TRUE(refused(8, 3));       // more entries than there are
  EXPECT_TRUE(refused(11, 0xff));   // far more
  EXPECT_TRUE(refused(12, 0));      // handle 0
  EXPECT_TRUE(refused(12, 2));      // a handle twice
  EXPECT_TRUE(refused(16, 18));     // overlap
  EXPECT_TRUE(refused(16 + 7, 1));  // beyond all memory
  EXPECT_TRUE(refused(24, 0));      // no pages
  EXPECT_TRUE(refused(24 + 7, 0xff));
  EXPECT_TRUE(refused(36, 0));   // no rights
  EXPECT_TRUE(refused(36, 4));   // unknown ones
  EXPECT_FALSE(refused(36, 3));  // the control
}

// Against a map of pages that knows nothing of ranges.
TEST(GrantTable, RandomGrantsAgreeWithAMapOfPages) {
  constexpr std::uint64_t kPages = 200;
  constexpr std::array<GranteeId, 3> kGrantees = {kTools, kSeven, kEight};
  std::mt19937 random(4247);
  GrantTable table;
  std::map<GrantHandle, Grant> grants;
  std::map<std::pair<GranteeId, std::uint64_t>, GrantRights> model;
  int overlaps = 0;
  int allowed = 0;
  int spanning = 0;
  for (int step = 0; step < 20'000; ++step) {
    const GranteeId grantee = kGrantees[random() % 3];
    const std::uint64_t first = random() % kPages;
    const std::uint64_t count = 1 + random() % 12;
    if (random() % 3 == 0 && !grants.empty()) {
      auto victim = std::next(grants.begin(), static_cast<long>(random() % grants.size()));
      ASSERT_TRUE(table.remove(victim->first));
      for (Gfn page = victim->second.first; page < victim->second.end(); page = page + 1) {
        model.erase({victim->second.grantee, page.value()});
      }
      grants.erase(victim);
    } else {
      const GrantRights rights{random() % 4 != 0, random() % 4 != 0};
      bool free = true;
      for (std::uint64_t page = first; page < first + count; ++page) {
        free = free && !model.contains({grantee, page});
      }
      const Result<GrantHandle> added = table.add(pages(first, count, grantee, rights));
      ASSERT_EQ(added.has_value(), free && rights.any());
      overlaps += free ? 0 : 1;
      if (added) {
        ASSERT_TRUE(grants.emplace(*added, pages(first, count, grantee, rights)).second);
        for (std::uint64_t page = first; page < first + count; ++page) {
          model[{grantee, page}] = rights;
        }
      }
    }
    for (int probe = 0; probe < 4; ++probe) {
      const std::uint64_t from = random() % kPages;
      const std::uint64_t length = 1 + random() % 20;
      const GrantAccess access = random() % 2 == 0 ? kRead : kWrite;
      bool expected = true;
      for (std::uint64_t page = from; page < from + length; ++page) {
        const auto found = model.find({grantee, page});
        expected = expected && found != model.end() && found->second.allow(access);
      }
      ASSERT_EQ(table.may(grantee, Gfn(from), length, access), expected);
      allowed += expected ? 1 : 0;
      spanning += expected && length > 12 ? 1 : 0;  // by more than one grant
    }
    ASSERT_EQ(table.size(), grants.size());
  }
  EXPECT_GT(overlaps, 1000);
  EXPECT_GT(allowed, 1000);
  EXPECT_GT(spanning, 0);
}

}  // namespace
}  // namespace bulkhead
