// SPDX-License-Identifier: Apache-2.0
#include "broker/audit_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "broker/testing/shell.h"

namespace bulkhead::broker {
namespace {

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* secret : {"a/b/one", "a/b/two", "a/b/three"}) append(open(), secret);
  }
  AuditLog open() {
    auto log = AuditLog::open(path_);
    CHECK(log.has_value());
    return std::move(log).value();
  }
  void append(AuditLog log, const std::string& secret) {
    const auto done =
        log.append({.event = "release", .outcome = "granted", .secret = secret}, true);
    ASSERT_TRUE(done) << done.error().what;
  }
  std::string text() {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& text) { std::ofstream(path_) << text; }
  bool is_whole(const std::optional<AuditHead>& expected = std::nullopt) {
    fault_ = {};
    return verify_audit(path_, expected, fault_).has_value();
  }

  TempDir dir_;
  std::string path_ = dir_ / "audit";
  AuditFault fault_;
};

TEST_F(AuditLogTest, IsWholeAsWritten) {
  ASSERT_TRUE(is_whole()) << fault_.what;
  EXPECT_EQ(open().head().sequence, 3u);
}

TEST_F(AuditLogTest, AnyChangedByteIsNoticed) {
  const std::string good = text();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(changed);
    EXPECT_FALSE(is_whole()) << i;
  }
}

TEST_F(AuditLogTest, ADroppedLineIsNoticed) {
  const std::string good = text();
  const std::size_t second = good.find('\n') + 1;
  write(good.substr(second));
  EXPECT_FALSE(is_whole());
  write(good.substr(0, second) + good.substr(good.find('\n', second) + 1));
  EXPECT_FALSE(is_whole());
  EXPECT_EQ(fault_.line, 2u);
  EXPECT_NE(fault_.what.find("dropped"), std::string::npos) << fault_.what;
}

// A log that was cut is whole in itself: only who has seen its end before notices.
TEST_F(AuditLogTest, ACutIsNoticedByWhoHasSeenTheEnd) {
  const std::string good = text();
  const AuditHead head = open().head();
  write(good.substr(0, good.find('\n') + 1));
  EXPECT_TRUE(is_whole());
  EXPECT_FALSE(is_whole(head));
  write(good);
  EXPECT_TRUE(is_whole(head));
  append(open(), "a/b/four");
  EXPECT_TRUE(is_whole(head));
}

TEST_F(AuditLogTest, StockToolsFollowTheChain) {
  const std::string command =
      "prev=0000000000000000000000000000000000000000000000000000000000000000; "
      "while read -r hash json; do sum=$(printf %s%s \"$prev\" \"$json\" | sha256sum | cut -d' ' "
      "-f1); "
      "[ \"$sum\" = \"$hash\" ] || exit 1; prev=$hash; done <'" +
      path_ + "'";
  EXPECT_EQ(shell(command).status, 0);
}

TEST_F(AuditLogTest, WhatWasNotFinishedIsCutOff) {
  const std::string good = text();
  for (std::size_t cut : {std::size_t{1}, std::size_t{70}, good.size() / 3}) {
    write(good + good.substr(0, cut).substr(0, good.find('\n')));
    append(open(), "a/b/after");
    EXPECT_TRUE(is_whole()) << fault_.what;
    EXPECT_EQ(open().head().sequence, 4u);
    write(good);
  }
}

TEST_F(AuditLogTest, ALogThatEndsInSomethingElseIsNotAddedTo) {
  write(text() + "something else\n");
  EXPECT_FALSE(AuditLog::open(path_));
}

TEST_F(AuditLogTest, ThreadsAndProcessesAppendToOneChain) {
  AuditLog one = open();
  AuditLog other = open();
  std::vector<std::thread> threads;
  for (AuditLog* log : {&one, &one, &other, &other}) {
    threads.emplace_back([log] {
      for (int i = 0; i < 25; ++i) {
        EXPECT_TRUE(log->append({.event = "attest", .outcome = "refused"}, i % 5 == 0));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(is_whole()) << fault_.what;
  EXPECT_EQ(open().head().sequence, 103u);
}

}  // namespace
}  // namespace bulkhead::broker
