// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process_handle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "seal/temp_dir_for_test.h"
#include "vtpm/commands_for_test.h"
#include "vtpm/platform.h"

namespace bulkhead::vtpm {
namespace {

using namespace std::chrono_literals;

// The program itself, with files in a directory.
class VtpmProcess : public ::testing::Test {
 protected:
  void start() { process_ = ProcessHandle::start({.program_fd = program_.get()}).value(); }
  Result<void> start_lasting() {
    process_.reset();
    const Fd state = open_file("state");
    const Fd counter = open_file("counter");
    const StateFiles files{state.get(), counter.get(), key_};
    process_ = TRY(ProcessHandle::start({.program_fd = program_.get(), .state = &files}));
    TRY(client().init());
    return Platform(client()).startup();
  }
  Fd open_file(const char* name) {
    return Fd::open((dir_ / name).c_str(), O_RDWR | O_CREAT, 0600).value();
  }
  Client& client() { return process_->client(); }
  std::uint32_t code(const Bytes& command) { return response_code(run(client(), command).value()); }
  std::string status_line(const std::string& key) const {
    std::ifstream file("/proc/" + std::to_string(process_->pid()) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
    }
    return "";
  }
  void copy(const char* from, const char* to) {
    std::filesystem::copy_file(dir_ / from, dir_ / to,
                               std::filesystem::copy_options::overwrite_existing);
  }
  void flip_bit(const char* name, std::uint64_t at) {
    std::fstream file(dir_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const auto byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 1));
  }

  TempDir dir_;
  SecretBytes key_ = SecretBytes::random(32).value();
  Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_PATH).value();
  std::unique_ptr<ProcessHandle> process_;
};

TEST_F(VtpmProcess, RunsCommands) {
  start();
  ASSERT_TRUE(client().init());
  ASSERT_TRUE(Platform(client()).startup());
  EXPECT_EQ(code(get_random_command()), 0U);
  EXPECT_EQ(code(create_primary_command()), 0U);
  ASSERT_TRUE(client().init());  // a reboot of the guest
  EXPECT_EQ(code(get_random_command()), 0x100U);
}

TEST_F(VtpmProcess, RefusesCommandsBeforeInit) {
  start();
  EXPECT_FALSE(run(client(), startup_command()));
  EXPECT_FALSE(client().failed());
  EXPECT_TRUE(client().init());
}

TEST_F(VtpmProcess, HasNothingButWhatItNeeds) {
  ASSERT_TRUE(start_lasting());
  ASSERT_EQ(code(create_primary_command()), 0U);
  EXPECT_EQ(status_line("Seccomp"), "2");
  EXPECT_EQ(status_line("NoNewPrivs"), "1");
  const std::string proc = "/proc/" + std::to_string(process_->pid());
  std::set<std::string> descriptors;
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fd")) {
    descriptors.insert(entry.path().filename());
  }
  EXPECT_EQ(descriptors, (std::set<std::string>{"2", "3", "5", "6"}));
  // Not dumpable: its files belong to root, whoever runs it. Both threads are filtered.
  unsigned threads = 0;
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/task")) {
    std::ifstream file(entry.path() / "status");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_NE(text.find("Seccomp:\t2"), std::string::npos) << entry.path();
    ++threads;
  }
  EXPECT_EQ(threads, 2U);
}

TEST_F(VtpmProcess, ItsDeathIsAnErrorAndNoHang) {
  start();
  ASSERT_TRUE(client().init());
  ASSERT_TRUE(Platform(client()).startup());
  std::thread killer([&] {
    std::this_thread::sleep_for(20ms);
    ::kill(process_->pid(), SIGKILL);
  });
  Result<Bytes> response = Bytes();
  while (response) response = run(client(), create_primary_command());
  EXPECT_EQ(response.error().code, Errc::kClosed);
  EXPECT_TRUE(client().failed());
  killer.join();
}

TEST_F(VtpmProcess, OneThatIsStoppedIsKilledInTheEnd) {
  process_ = ProcessHandle::start({.program_fd = program_.get(),
                                   .patience = {.command = 200ms, .cancelled = 1s, .other = 200ms}})
                 .value();
  ::kill(process_->pid(), SIGSTOP);
  EXPECT_EQ(client().init().error().code, Errc::kTimeout);
  const pid_t pid = process_->pid();
  process_.reset();
  EXPECT_EQ(::kill(pid, 0), -1);
}

// Making a key takes long; cancelled, it says TPM_RC_CANCELED, or it was done before.
TEST_F(VtpmProcess, CancelEndsACommand) {
  start();
  ASSERT_TRUE(client().init());
  ASSERT_TRUE(Platform(client()).startup());
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) {
      client().cancel();
      std::this_thread::sleep_for(1ms);
    }
  });
  unsigned cancelled = 0;
  for (unsigned i = 0; i < 40 && cancelled == 0; ++i) {
    ASSERT_TRUE(client().init());
    ASSERT_TRUE(Platform(client()).startup());
    const std::uint32_t rc = code(create_primary_command());
    EXPECT_TRUE(rc == 0 || rc == 0x909) << std::hex << rc;
    cancelled += rc == 0x909 ? 1 : 0;
  }
  done = true;
  canceller.join();
  EXPECT_GT(cancelled, 0U);
  EXPECT_EQ(code(get_random_command()), 0U);  // and the next one is not cancelled
}

TEST_F(VtpmProcess, SuspendsAndResumes) {
  ASSERT_TRUE(start_lasting());
  ASSERT_EQ(code(nv_define_command(1)), 0U);
  const Bytes state = client().volatile_state().value();
  ASSERT_TRUE(client().init(state));
  EXPECT_EQ(code(get_random_command()), 0U);
  Bytes damaged = state;
  damaged[damaged.size() / 2] ^= std::byte{1};
  EXPECT_FALSE(client().init(damaged));
}

TEST_F(VtpmProcess, StateLasts) {
  ASSERT_TRUE(start_lasting());
  EXPECT_NE(code(nv_read_public_command(1)), 0U);
  ASSERT_EQ(code(nv_define_command(1)), 0U);
  ASSERT_TRUE(start_lasting());
  EXPECT_EQ(code(nv_read_public_command(1)), 0U);
}

// Killed right after a response, it has lost nothing of what it said.
TEST_F(VtpmProcess, StateSurvivesAKill) {
  for (unsigned index = 1; index < 6; ++index) {
    ASSERT_TRUE(start_lasting());
    for (unsigned known = 1; known < index; ++known) {
      EXPECT_EQ(code(nv_read_public_command(known)), 0U) << known;
    }
    ASSERT_EQ(code(nv_define_command(index)), 0U);
    ::kill(process_->pid(), SIGKILL);
  }
}

TEST_F(VtpmProcess, AChangedStateIsRefused) {
  ASSERT_TRUE(start_lasting());
  process_.reset();
  copy("state", "good");
  copy("counter", "good-counter");
  unsigned refused = 0;
  const std::uint64_t size = std::filesystem::file_size(dir_ / "state");
  for (std::uint64_t at = 100; at < size; at += size / 24) {
    process_.reset();
    copy("good", "state");
    copy("good-counter", "counter");
    flip_bit("state", at);
    const Result<void> started = start_lasting();
    if (started) continue;  // a byte that is not in use
    // Without its newest superblock the state is the one before.
    const Errc code = started.error().code;
    EXPECT_TRUE(code == Errc::kMalformed || code == Errc::kRolledBack) << at;
    ++refused;
  }
  EXPECT_GT(refused, 0U);
}

TEST_F(VtpmProcess, AnOlderStateIsRefused) {
  ASSERT_TRUE(start_lasting());
  process_.reset();
  copy("state", "old");
  ASSERT_TRUE(start_lasting());
  ASSERT_EQ(code(nv_define_command(1)), 0U);
  ASSERT_EQ(code(nv_define_command(2)), 0U);
  process_.reset();
  copy("state", "new");
  copy("old", "state");
  EXPECT_EQ(start_lasting().error().code, Errc::kRolledBack);
  std::filesystem::resize_file(dir_ / "state", 0);
  EXPECT_EQ(start_lasting().error().code, Errc::kRolledBack);
  process_.reset();
  copy("new", "state");
  EXPECT_TRUE(start_lasting());  // the control
  process_.reset();
  std::filesystem::resize_file(dir_ / "counter", 0);
  EXPECT_EQ(start_lasting().error().code, Errc::kRolledBack);
}

TEST_F(VtpmProcess, AnotherKeyIsRefused) {
  ASSERT_TRUE(start_lasting());
  process_.reset();
  key_ = SecretBytes::random(32).value();
  EXPECT_FALSE(start_lasting());
}

TEST_F(VtpmProcess, AStateHasOneUser) {
  ASSERT_TRUE(start_lasting());
  auto first = std::move(process_);
  EXPECT_FALSE(start_lasting());
  process_.reset();
  first.reset();
  EXPECT_TRUE(start_lasting());
}

// The socket outlives the parent here, so that it is not the hang-up which ends the process.
TEST_F(VtpmProcess, EndsWithItsParent) {
  int report[2];
  ASSERT_EQ(::pipe(report), 0);
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    auto process = ProcessHandle::start({.program_fd = program_.get()});
    const pid_t pid = process && (*process)->client().init() ? (*process)->pid() : -1;
    [[maybe_unused]] auto written = ::write(report[1], &pid, sizeof pid);
    // A further child keeps a copy of the socket for a while.
    if (::fork() == 0) {
      ::sleep(2);
      ::_exit(0);
    }
    ::raise(SIGKILL);
  }
  pid_t pid = -1;
  ASSERT_EQ(::read(report[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ::waitpid(parent, nullptr, 0);
  ASSERT_GT(pid, 0);
  bool ended = false;
  for (int i = 0; i < 100 && !ended; ++i) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    ended = text.empty() || text.find(") Z ") != std::string::npos;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(ended);
  ::close(report[0]);
  ::close(report[1]);
}

}  // namespace
}  // namespace bulkhead::vtpm
