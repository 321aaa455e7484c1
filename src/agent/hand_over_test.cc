// SPDX-License-Identifier: Apache-2.0
#include "agent/hand_over.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "broker/testing/shell.h"

namespace bulkhead::agent {
namespace {

class HandOver : public ::testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  std::string content(const char* name) const {
    std::ifstream file(dir_ / name, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  int run(const std::string& script, int fd = 0) {
    const auto status =
        run_with_secret({.command = {"sh", "-c", script, "sh", dir_ / "out"}, .fd = fd}, secret_);
    CHECK(status.has_value());
    return *status;
  }

  broker::TempDir dir_;
  // With what shells and C would end at.
  const SecretBytes secret_ =
      SecretBytes::copy_of(std::as_bytes(std::span("a\0b\nc\xff", 6))).value();
  const std::string text_{"a\0b\nc\xff", 6};
};

TEST_F(HandOver, ACommandReadsItFromStandardInput) {
  EXPECT_EQ(run("cat >\"$1\""), 0);
  EXPECT_EQ(content("out"), text_);
}

TEST_F(HandOver, OrFromAnotherDescriptor) {
  EXPECT_EQ(run("cat <&9 >\"$1\"", 9), 0);
  EXPECT_EQ(content("out"), text_);
}

TEST_F(HandOver, NothingElseIsOpenInTheCommand) {
  EXPECT_EQ(run("ls /proc/self/fd >\"$1\""), 0);
  EXPECT_EQ(content("out").find("7\n"), std::string::npos) << content("out");
}

TEST_F(HandOver, TheStatusIsTheCommands) {
  EXPECT_EQ(run("cat >/dev/null; exit 7"), 7);
  EXPECT_EQ(run("exit 0"), 0);  // without reading
  EXPECT_EQ(run("kill -9 $$"), 128 + 9);
  // A signal that we ignore is not ignored there.
  EXPECT_EQ(run("kill -PIPE $$"), 128 + 13);
}

TEST_F(HandOver, ACommandThatIsNotThereIsAnError) {
  const auto status = run_with_secret({.command = {"/no/such/program"}}, secret_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().os_errno, ENOENT);
}

TEST_F(HandOver, ASecretOfTheLargestSizeFits) {
  const SecretBytes large = SecretBytes::random(8192).value();
  const auto status =
      run_with_secret({.command = {"sh", "-c", "cat >\"$1\"", "sh", dir_ / "out"}}, large);
  EXPECT_EQ(*status, 0);
  const std::string got = content("out");
  EXPECT_TRUE(constant_time_equal(std::as_bytes(std::span(got)), large.bytes()));
}

TEST_F(HandOver, IsNotWrittenToATerminal) {
  int ours = -1;
  int theirs = -1;
  ASSERT_EQ(::openpty(&ours, &theirs, nullptr, nullptr, nullptr), 0);
  const Fd one(ours);
  const Fd other(theirs);
  EXPECT_EQ(write_secret(theirs, secret_).error().code, Errc::kInvalidArgument);
  const Fd file = Fd::open((dir_ / "file").c_str(), O_WRONLY | O_CREAT).value();
  EXPECT_TRUE(write_secret(file.get(), secret_));
  EXPECT_EQ(content("file"), text_);
}

TEST_F(HandOver, AFullDiskIsAnError) {
  const Fd full = Fd::open("/dev/full", O_WRONLY).value();
  EXPECT_EQ(write_secret(full.get(), secret_).error().os_errno, ENOSPC);
}

}  // namespace
}  // namespace bulkhead::agent
