// SPDX-License-Identifier: Apache-2.0
// A TPM whose states the host's TPM counts: the process, the monitor's relay, and a daemon that
// says what bulkheadd would.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>

#include "base/log.h"
#include "mem/fake_daemon_for_test.h"
#include "seal/key_file.h"
#include "seal/temp_dir_for_test.h"
#include "vmm/tpm_process.h"
#include "vtpm/commands_for_test.h"

namespace bulkhead {
namespace {

// One counter, in place of the host's TPM.
class CountingDaemon {
 public:
  std::string path() const { return daemon_.path(); }

  std::atomic<bool> refuses = false;
  std::atomic<unsigned> value = 10;

 private:
  FakeDaemon::Answer answer(const FakeDaemon::Packet& request) {
    if (daemon::Request(request[0]) == daemon::Request::kHello) {
      return {{0, request[1], daemon::kProtocolVersion, 0}};
    }
    if (daemon::Request(request[0]) != daemon::Request::kCount || refuses) {
      return {{daemon::status_of(Errc::kUnsupported), request[1]}};
    }
    if (CounterAction(request[2]) != CounterAction::kRead) ++value;
    return {{0, request[1], kIndex, 0, value, 0}};
  }

  static constexpr std::uint32_t kIndex = 0x01810000;
  FakeDaemon daemon_{[this](const FakeDaemon::Packet& request) { return answer(request); }};
};

class TpmCounterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: only root's daemon is believed";
    set_log_level(LogLevel::kError);
    ASSERT_TRUE(KeyFile::create(dir_ / "key"));
  }
  // Starts the TPM as the monitor does.
  Result<void> start(StateCounter counter_in = StateCounter::kAuto) {
    tpm_.reset();
    key_ = Fd::open((dir_ / "key").c_str(), O_RDONLY).value();
    state_ = Fd::open((dir_ / "state").c_str(), O_RDWR | O_CREAT).value();
    counter_ = Fd::open((dir_ / "counter").c_str(), O_RDWR | O_CREAT).value();
    spec_.seal.key_fd = key_.get();
    spec_.tpm = TpmSpec{.program_fd = program_.get(),
                        .state_fd = state_.get(),
                        .counter_fd = counter_.get(),
                        .counter_in = counter_in,
                        .certifier = has_daemon_ ? daemon_.path() : ""};
    tpm_ = TRY(TpmProcess::create(spec_));
    return tpm_->restart();
  }
  void define(unsigned index) {
    EXPECT_EQ(vtpm::response_code(vtpm::run(*tpm_, vtpm::nv_define_command(index)).value()), 0U);
  }
  void copy(const char* from, const char* to) {
    std::filesystem::copy_file(dir_ / from, dir_ / to,
                               std::filesystem::copy_options::overwrite_existing);
  }
  // Takes a copy of state and counter file, goes on, and puts both back.
  void roll_back() {
    tpm_.reset();
    copy("state", "old");
    copy("counter", "old-counter");
    const StateCounter counter_in = spec_.tpm->counter_in;
    ASSERT_TRUE(start(counter_in));
    for (unsigned index : {1U, 2U, 3U}) define(index);
    tpm_.reset();
    copy("state", "new");
    copy("counter", "new-counter");
    copy("old", "state");
    copy("old-counter", "counter");
  }

  bool has_daemon_ = true;
  CountingDaemon daemon_;
  TempDir dir_;
  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  Fd key_;
  Fd state_;
  Fd counter_;
  LaunchSpec spec_;
  std::unique_ptr<TpmProcess> tpm_;
};

TEST_F(TpmCounterTest, BothFilesPutBackAreNoticed) {
  ASSERT_TRUE(start());
  EXPECT_EQ(tpm_->state(), TpmState::kHostCounter);
  roll_back();
  EXPECT_EQ(start().error().code, Errc::kRolledBack);
  copy("new", "state");
  copy("new-counter", "counter");
  EXPECT_TRUE(start());
}

// The control, and what is weaker about a file.
TEST_F(TpmCounterTest, NotWhereAFileAloneCounts) {
  ASSERT_TRUE(start(StateCounter::kFile));
  EXPECT_EQ(tpm_->state(), TpmState::kFileCounter);
  roll_back();
  EXPECT_TRUE(start(StateCounter::kFile));
}

TEST_F(TpmCounterTest, AFileDoesWhereThereIsNoTpm) {
  daemon_.refuses = true;
  ASSERT_TRUE(start());
  EXPECT_EQ(tpm_->state(), TpmState::kFileCounter);
  has_daemon_ = false;
  ASSERT_TRUE(start());
  EXPECT_EQ(tpm_->state(), TpmState::kFileCounter);
}

TEST_F(TpmCounterTest, WhoDemandsTheTpmGetsNothingLess) {
  daemon_.refuses = true;
  EXPECT_FALSE(start(StateCounter::kHost));
  daemon_.refuses = false;
  ASSERT_TRUE(std::filesystem::remove(dir_ / "state"));
  ASSERT_TRUE(start(StateCounter::kHost));
  EXPECT_EQ(tpm_->state(), TpmState::kHostCounter);
  // Nor does a state that was begun with a file alone do.
  std::filesystem::remove(dir_ / "state");
  std::filesystem::remove(dir_ / "counter");
  ASSERT_TRUE(start(StateCounter::kFile));
  EXPECT_EQ(start(StateCounter::kHost).error().code, Errc::kUnsupported);
}

// Else who rolls back only had to keep the TPM away.
TEST_F(TpmCounterTest, WhatTheTpmCountsIsNotOpenedWithoutIt) {
  ASSERT_TRUE(start());
  daemon_.refuses = true;
  EXPECT_EQ(start().error().code, Errc::kUnsupported);
  has_daemon_ = false;
  EXPECT_EQ(start().error().code, Errc::kUnsupported);
  EXPECT_EQ(start(StateCounter::kFile).error().code, Errc::kUnsupported);
  has_daemon_ = true;
  daemon_.refuses = false;
  EXPECT_TRUE(start());
}

TEST_F(TpmCounterTest, ASuspendedOneGoesOn) {
  ASSERT_TRUE(start());
  define(1);
  ASSERT_TRUE(tpm_->park());
  ASSERT_TRUE(tpm_->unpark());
  define(2);
  ++daemon_.value;  // somebody has it count meanwhile
  EXPECT_FALSE(vtpm::run(*tpm_, vtpm::nv_define_command(3)));
}

// A guest that keeps changing its TPM's state does not wear out the host's.
TEST(CounterRelay, CountsAtItsPace) {
  for (const unsigned burst : {2U, 3U}) {
    std::atomic<unsigned> asked = 0;
    const auto relay = CounterRelay::start(
                           [&](const vtpm::CounterRequest& request) {
                             return Result(CounterValue{request.index, ++asked});
                           },
                           true, {.burst = burst, .interval = std::chrono::hours(1)})
                           .value();
    const int end = relay->process_end();
    for (unsigned i = 1; i <= 2; ++i) {
      ASSERT_TRUE(vtpm::send_counter_request(end, {.action = CounterAction::kStep}));
      EXPECT_EQ(vtpm::receive_counter_answer(end)->value, i);
    }
    ASSERT_TRUE(vtpm::send_counter_request(end, {.action = CounterAction::kStep}));
    pollfd answered{end, POLLIN, 0};
    // The control: with one more at once it is answered.
    EXPECT_EQ(::poll(&answered, 1, burst == 2 ? 100 : 10'000), burst == 2 ? 0 : 1);
    EXPECT_EQ(asked, burst);
  }  // and it ends while it waits
}

}  // namespace
}  // namespace bulkhead
