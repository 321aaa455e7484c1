// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/counter_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "base/address.h"
#include "seal/file_io.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::size_t kRecordBytes = 96;

class VtpmCounterFile : public ::testing::Test {
 protected:
  CounterFile open() { return CounterFile::create(fd(), key_).value(); }
  Fd fd() { return Fd::open((dir_ / "counter").c_str(), O_RDWR | O_CREAT).value(); }
  AnchorMark mark(std::uint64_t generation) const {
    AnchorMark mark{.generation = generation, .tag = {}};
    mark.tag.fill(static_cast<std::byte>(generation));
    return mark;
  }
  std::uint64_t newest() { return open().newest(store_).value().generation; }

  TempDir dir_;
  SecretBytes key_ = SecretBytes::random(32).value();
  StoreId store_ = StoreId::random().value();
};

TEST_F(VtpmCounterFile, RemembersTheNewestMark) {
  CounterFile counter = open();
  EXPECT_TRUE(counter.empty().value());
  EXPECT_EQ(counter.newest(store_).error().code, Errc::kNotFound);
  for (std::uint64_t generation = 1; generation <= 5; ++generation) {
    ASSERT_TRUE(counter.advance(store_, mark(generation)));
    EXPECT_EQ(open().newest(store_).value(), mark(generation));
  }
  EXPECT_FALSE(counter.empty().value());
}

TEST_F(VtpmCounterFile, DoesNotGoBack) {
  CounterFile counter = open();
  ASSERT_TRUE(counter.advance(store_, mark(5)));
  for (std::uint64_t generation : {1U, 4U, 5U}) {
    EXPECT_EQ(counter.advance(store_, mark(generation)).error().code, Errc::kRolledBack);
  }
  EXPECT_EQ(newest(), 5U);
}

TEST_F(VtpmCounterFile, IsOneStatesAndOneKeys) {
  ASSERT_TRUE(open().advance(store_, mark(1)));
  const StoreId other = StoreId::random().value();
  EXPECT_EQ(open().newest(other).error().code, Errc::kRolledBack);
  EXPECT_FALSE(open().advance(other, mark(2)));
  key_ = SecretBytes::random(32).value();
  EXPECT_EQ(open().newest(store_).error().code, Errc::kMalformed);
  EXPECT_FALSE(open().advance(store_, mark(2)));
}

// Whatever part of a record was written when the power went, the mark is the old or the new one.
TEST_F(VtpmCounterFile, ATornRecordLosesNothing) {
  ASSERT_TRUE(open().advance(store_, mark(1)));
  ASSERT_TRUE(open().advance(store_, mark(2)));
  const Fd file = fd();
  std::array<std::byte, kRecordBytes> old_record;
  ASSERT_TRUE(read_exactly(file.get(), kPageSize, old_record));  // slot 1: of generation 1
  ASSERT_TRUE(open().advance(store_, mark(3)));
  std::array<std::byte, kRecordBytes> new_record;
  ASSERT_TRUE(read_exactly(file.get(), kPageSize, new_record));
  for (std::size_t written = 0; written <= kRecordBytes; ++written) {
    auto torn = old_record;
    std::copy_n(new_record.begin(), written, torn.begin());
    ASSERT_TRUE(write_exactly(file.get(), kPageSize, torn));
    EXPECT_EQ(newest(), written == kRecordBytes ? 3U : 2U) << written;
  }
}

TEST_F(VtpmCounterFile, EveryByteOfARecordCounts) {
  ASSERT_TRUE(open().advance(store_, mark(2)));
  const Fd file = fd();
  std::array<std::byte, kRecordBytes> record;
  ASSERT_TRUE(read_exactly(file.get(), 0, record));
  for (std::size_t at = 0; at < kRecordBytes; ++at) {
    auto changed = record;
    changed[at] ^= std::byte{1};
    ASSERT_TRUE(write_exactly(file.get(), 0, changed));
    EXPECT_EQ(open().newest(store_).error().code, Errc::kMalformed) << at;
  }
  ASSERT_TRUE(write_exactly(file.get(), 0, record));
  EXPECT_EQ(newest(), 2U);  // the control
}

}  // namespace
}  // namespace bulkhead::vtpm
