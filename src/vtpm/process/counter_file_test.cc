// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/counter_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "base/address.h"
#include "seal/file_io.h"
#include "seal/temp_dir_for_test.h"

namespace bulkhead::vtpm {
namespace {

constexpr std::size_t kRecordBytes = 112;

// A host's TPM.
class FakeCounter final : public HostCounter {
 public:
  Result<CounterValue> make() override {
    if (gone) return Error{Errc::kClosed, 0, "gone"};
    if (!is_there) return Error{Errc::kNotFound, 0, "none"};
    return CounterValue{7, ++value};
  }
  Result<CounterValue> read(std::uint32_t index) override {
    if (gone || index != 7) return Error{Errc::kClosed, 0, "gone"};
    return CounterValue{7, value};
  }
  Result<CounterValue> step(std::uint32_t index) override {
    if (gone || stuck || index != 7) return Error{Errc::kClosed, 0, "gone"};
    ++value;
    if (loses_answers) return Error{Errc::kClosed, 0, "lost"};
    return CounterValue{7, value};
  }

  bool is_there = true;
  bool gone = false;
  bool stuck = false;
  bool loses_answers = false;
  std::uint64_t value = 40;
};

class VtpmCounterFile : public ::testing::Test {
 protected:
  CounterFile open(HostCounter* host = nullptr) {
    return CounterFile::create(fd(), key_, host).value();
  }
  std::string content() { return slurp("counter"); }
  std::string slurp(const char* name) {
    std::ifstream file(dir_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void put_back(const std::string& bytes) {
    std::ofstream(dir_ / "counter", std::ios::binary | std::ios::trunc) << bytes;
  }
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
  for (std::uint64_t generation : {1U, 4U}) {
    EXPECT_EQ(counter.advance(store_, mark(generation)).error().code, Errc::kRolledBack);
  }
  AnchorMark other = mark(5);
  other.tag.fill(std::byte{1});
  EXPECT_EQ(counter.advance(store_, other).error().code, Errc::kRolledBack);
  EXPECT_TRUE(counter.advance(store_, mark(5)));  // it is there
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
  ASSERT_TRUE(read_exactly(file.get(), 0, old_record));  // slot 0: of generation 1
  ASSERT_TRUE(open().advance(store_, mark(3)));
  std::array<std::byte, kRecordBytes> new_record;
  ASSERT_TRUE(read_exactly(file.get(), 0, new_record));
  for (std::size_t written = 0; written <= kRecordBytes; ++written) {
    auto torn = old_record;
    std::copy_n(new_record.begin(), written, torn.begin());
    ASSERT_TRUE(write_exactly(file.get(), 0, torn));
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

// Who puts back state and counter file is noticed only by what he cannot put back.
TEST_F(VtpmCounterFile, AnOlderFileIsRefusedByTheHostsCounter) {
  FakeCounter host;
  ASSERT_TRUE(open(&host).advance(store_, mark(1)));
  ASSERT_TRUE(open(&host).advance(store_, mark(2)));
  const std::string older = content();
  ASSERT_TRUE(open(&host).advance(store_, mark(3)));
  ASSERT_TRUE(open(&host).advance(store_, mark(4)));
  const std::string newest = content();
  EXPECT_EQ(open(&host).newest(store_).value(), mark(4));
  put_back(older);
  EXPECT_EQ(open(&host).newest(store_).error().code, Errc::kRolledBack);
  EXPECT_FALSE(open(&host).advance(store_, mark(5)));
  put_back(newest);
  EXPECT_EQ(open(&host).newest(store_).value(), mark(4));
  // The control: without the host's TPM nobody notices.
  put_back("");
  ASSERT_TRUE(open().advance(store_, mark(1)));
  const std::string file_only = content();
  ASSERT_TRUE(open().advance(store_, mark(2)));
  put_back(file_only);
  EXPECT_EQ(open().newest(store_).value(), mark(1));
}

TEST_F(VtpmCounterFile, WhatTheHostCountsIsNotReadWithoutIt) {
  FakeCounter host;
  ASSERT_TRUE(open(&host).advance(store_, mark(1)));
  EXPECT_EQ(open().newest(store_).error().code, Errc::kClosed);
  EXPECT_FALSE(open().advance(store_, mark(2)));
  host.gone = true;
  EXPECT_FALSE(open(&host).newest(store_));
  host.gone = false;
  EXPECT_EQ(open(&host).newest(store_).value(), mark(1));
}

// The power goes, or the TPM's answer gets lost, at any point of counting.
TEST_F(VtpmCounterFile, InterruptedCountingLosesNothing) {
  FakeCounter host;
  ASSERT_TRUE(open(&host).advance(store_, mark(1)));
  ASSERT_TRUE(open(&host).advance(store_, mark(2)));
  host.stuck = true;  // written, and not counted
  EXPECT_FALSE(open(&host).advance(store_, mark(3)));
  EXPECT_EQ(open(&host).newest(store_).value(), mark(2));
  EXPECT_FALSE(open(&host).advance(store_, mark(4)));  // again, before it works
  host.stuck = false;
  EXPECT_EQ(open(&host).newest(store_).value(), mark(2));
  ASSERT_TRUE(open(&host).advance(store_, mark(3)));
  EXPECT_EQ(open(&host).newest(store_).value(), mark(3));
  host.loses_answers = true;  // counted, and not known to be
  EXPECT_FALSE(open(&host).advance(store_, mark(4)));
  EXPECT_EQ(open(&host).newest(store_).value(), mark(4));
  EXPECT_TRUE(open(&host).advance(store_, mark(4)));
  host.loses_answers = false;
  ASSERT_TRUE(open(&host).advance(store_, mark(5)));
  EXPECT_EQ(open(&host).newest(store_).value(), mark(5));
}

TEST_F(VtpmCounterFile, AFileDoesWhereThereIsNoTpm) {
  FakeCounter host;
  host.is_there = false;
  ASSERT_TRUE(open(&host).advance(store_, mark(1)));
  EXPECT_EQ(newest(), 1U);
  host.is_there = true;  // that stays so
  ASSERT_TRUE(open(&host).advance(store_, mark(2)));
  EXPECT_EQ(newest(), 2U);
  EXPECT_EQ(host.value, 40U);
}

TEST_F(VtpmCounterFile, NothingBeginsWithATpmThatFails) {
  FakeCounter host;
  host.gone = true;
  EXPECT_FALSE(open(&host).advance(store_, mark(1)));
  EXPECT_TRUE(open().empty().value());
}

}  // namespace
}  // namespace bulkhead::vtpm
