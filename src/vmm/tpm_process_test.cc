// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "vtpm/commands_for_test.h"

namespace bulkhead {
namespace {

// The only child of this process that is a TPM, or 0.
pid_t tpm_pid() {
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (pid_t child = 0; children >> child;) {
    std::string name;
    std::ifstream("/proc/" + std::to_string(child) + "/comm") >> name;
    if (name == "bulkhead-vtpm") return child;
  }
  return 0;
}

class TpmProcessTest : public ::testing::Test {
 protected:
  TpmProcessTest() {
    spec_.tpm = TpmSpec{.program_fd = program_.get(), .certifier = {}};
    tpm_ = TpmProcess::create(spec_).value();
    CHECK(tpm_->restart());
  }
  std::vector<std::byte> answer(const std::vector<std::byte>& command) {
    return vtpm::run(*tpm_, command).value();
  }
  std::uint32_t code(const std::vector<std::byte>& command) {
    return vtpm::response_code(answer(command));
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  LaunchSpec spec_;
  std::unique_ptr<TpmProcess> tpm_;
};

TEST_F(TpmProcessTest, GoesOnWhereItWasParked) {
  ASSERT_EQ(code(vtpm::pcr_extend_command(16)), 0U);
  ASSERT_EQ(code(vtpm::nv_define_command(1)), 0U);
  const auto pcr = answer(vtpm::pcr_read_command(16));
  const pid_t before = tpm_pid();
  ASSERT_GT(before, 0);
  ASSERT_TRUE(tpm_->park());
  EXPECT_EQ(tpm_pid(), 0);
  EXPECT_EQ(vtpm::run(*tpm_, vtpm::get_random_command()).error().code, Errc::kClosed);
  tpm_->cancel();
  ASSERT_TRUE(tpm_->unpark());
  EXPECT_NE(tpm_pid(), before);
  EXPECT_EQ(answer(vtpm::pcr_read_command(16)), pcr);
  EXPECT_EQ(code(vtpm::nv_read_public_command(1)), 0U);  // permanent state came along
  EXPECT_EQ(code(vtpm::startup_command()), 0x100U);      // TPM_RC_INITIALIZE: it was on
}

TEST_F(TpmProcessTest, IsParkedMoreThanOnce) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(tpm_->park());
    ASSERT_TRUE(tpm_->unpark());
    ASSERT_EQ(code(vtpm::get_random_command()), 0U);
  }
  EXPECT_TRUE(tpm_->unpark());  // it is not parked: nothing happens
  ASSERT_TRUE(tpm_->restart());
  EXPECT_EQ(code(vtpm::get_random_command()), 0U);
}

TEST_F(TpmProcessTest, OneThatHasFailedStaysSo) {
  ASSERT_EQ(::kill(tpm_pid(), SIGKILL), 0);
  EXPECT_FALSE(vtpm::run(*tpm_, vtpm::get_random_command()));
  EXPECT_TRUE(tpm_->park());
  EXPECT_TRUE(tpm_->unpark());
  EXPECT_EQ(vtpm::run(*tpm_, vtpm::get_random_command()).error().code, Errc::kClosed);
}

TEST_F(TpmProcessTest, EndsWhileParked) {
  ASSERT_TRUE(tpm_->park());
  tpm_.reset();
  EXPECT_EQ(tpm_pid(), 0);
}

}  // namespace
}  // namespace bulkhead
