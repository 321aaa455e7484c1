// SPDX-License-Identifier: Apache-2.0
#include "vmm/ledger_grants.h"

#include <gtest/gtest.h>

#include <set>

#include "mem/private_frames.h"

namespace bulkhead {
namespace {

// A ledger that knows what is shared.
class Frames final : public FrameSource {
 public:
  Result<Extent> take(std::uint64_t frames) override { return source_->take(frames); }
  void give_back(Extent extent) override {
    EXPECT_TRUE(shared_.empty()) << "frames that are shared do not go back";
    source_->give_back(std::move(extent));
  }
  bool covers_host() const override { return true; }
  Result<GrantId> note_shared(PageRun pages, Rights /*of_tools*/) override {
    if (refuses) return Error{Errc::kExhausted, 0, "there are too many grants"};
    shared_.insert(pages.first.value());
    return GrantId(pages.first.value());
  }
  Result<void> note_unshared(GrantId grant) override {
    EXPECT_EQ(shared_.erase(grant.value()), 1u);
    return {};
  }

  const std::set<std::uint64_t>& shared() const { return shared_; }
  bool refuses = false;

 private:
  std::unique_ptr<PrivateFrames> source_ = PrivateFrames::create(Backing::kMemfd).value();
  std::set<std::uint64_t> shared_;
};

class LedgerGrantsTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kBoot = 64 * kMiB;
  using Shared = std::set<std::uint64_t>;

  static Grant page(std::uint64_t number) {
    return {.first = Gfn(number),
            .pages = 1,
            .grantee = GranteeId::kHostTools,
            .rights = {.read = true, .write = false}};
  }

  Frames frames_;
  std::unique_ptr<GuestMemory> memory_ =
      GuestMemory::create({.size_bytes = kBoot, .max_bytes = kBoot + kGrowthUnit}, frames_).value();
};

TEST_F(LedgerGrantsTest, TheLedgerIsToldOfGrantAndRevocation) {
  LedgerGrants grants(*memory_, frames_);
  const GrantHandle handle = grants.grant(page(7)).value();
  EXPECT_EQ(frames_.shared(), Shared{7});
  ASSERT_TRUE(grants.revoke(handle));
  EXPECT_EQ(frames_.shared(), Shared{});
  EXPECT_EQ(grants.revoke(handle).error().code, Errc::kNotFound);
}

TEST_F(LedgerGrantsTest, WhatTheLedgerDoesNotKnowIsNotShared) {
  LedgerGrants grants(*memory_, frames_);
  frames_.refuses = true;
  EXPECT_EQ(grants.grant(page(7)).error().code, Errc::kExhausted);
  EXPECT_EQ(grants.count(), 0u);
}

TEST_F(LedgerGrantsTest, WhatIsNotGrantedTheLedgerForgets) {
  LedgerGrants grants(*memory_, frames_);
  ASSERT_TRUE(grants.grant(page(7)));
  Grant overlapping = page(6);
  overlapping.pages = 2;
  EXPECT_EQ(grants.grant(overlapping).error().code, Errc::kExists);
  EXPECT_EQ(frames_.shared(), Shared{7});
}

TEST_F(LedgerGrantsTest, AllEndWithThePartition) {
  {
    LedgerGrants grants(*memory_, frames_);
    ASSERT_TRUE(grants.grant(page(7)));
    ASSERT_TRUE(grants.grant(page(9)));
  }
  EXPECT_EQ(frames_.shared(), Shared{});
}

TEST_F(LedgerGrantsTest, RefusalsSayWhy) {
  LedgerGrants grants(*memory_, frames_);
  Grant to_partition = page(7);
  to_partition.grantee = GranteeId{5};
  const Error grantee = grants.grant(to_partition).error();
  EXPECT_EQ(grantee.code, Errc::kPermission);
  EXPECT_STREQ(grantee.what, "pages are shared with the host's tools only, not with a partition");
  ASSERT_TRUE(memory_->grow(0));
  const Gfn unit(memory_->unit_region(0).base.value() / kPageSize);
  const Error pluggable = grants.grant(page(unit.value())).error();
  EXPECT_EQ(pluggable.code, Errc::kPermission);
  EXPECT_STREQ(pluggable.what, "memory that can be unplugged cannot be shared");
}

}  // namespace
}  // namespace bulkhead
