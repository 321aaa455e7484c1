// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "vmm/counting_guest_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kBoot = 64 * kMiB;

// A monitor on a thread of its own, asked by its control socket.
class MonitorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (auto system = kvm::System::open(); !system) GTEST_SKIP() << system.error().what;
    ASSERT_NE(::mkdtemp(directory_), nullptr);
    path_ = std::string(directory_) + "/socket";
    spec_.name = "test";
    spec_.memory_bytes = kBoot;
    spec_.max_memory_bytes = kBoot + kGrowthUnit;
    spec_.kernel_kind = KernelKind::kElfPvh;
    spec_.kernel_fd = kernel_.get();
    spec_.control_fd = listen().release();
    auto monitor = Monitor::create(spec_);
    ASSERT_TRUE(monitor) << monitor.error().what;
    monitor_ = std::move(*monitor);
    thread_ = std::thread([this] { outcome_ = monitor_->run().value_or(Outcome::kFailed); });
    socket_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = this->address();
    ASSERT_EQ(::connect(socket_.get(), as_generic(address), sizeof address), 0);
    while (ask("status").find("state=running") == std::string::npos) std::this_thread::yield();
  }
  void TearDown() override {
    if (thread_.joinable()) end();
    ::unlink(path_.c_str());
    ::rmdir(directory_);
  }

  Outcome end() {
    // In vain when it has ended already.
    [[maybe_unused]] auto sent = ::send(socket_.get(), "kill\n", 5, MSG_NOSIGNAL);
    thread_.join();
    return outcome_;
  }
  void send(const std::string& text) {
    EXPECT_EQ(::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  std::string answer() {
    std::string line;
    for (char byte = 0; ::recv(socket_.get(), &byte, 1, 0) == 1 && byte != '\n';) line += byte;
    return line;
  }
  std::string ask(const std::string& request) {
    send(request + "\n");
    return answer();
  }
  std::string state() {
    const std::string status = ask("status");
    const std::size_t at = status.find("state=") + 6;
    return status.substr(at, status.find(' ', at) - at);
  }

  LaunchSpec spec_;
  std::unique_ptr<Monitor> monitor_;

 private:
  static const sockaddr* as_generic(const sockaddr_un& address) {
    return static_cast<const sockaddr*>(static_cast<const void*>(&address));
  }
  sockaddr_un address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size());
    return address;
  }
  Fd listen() const {
    Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = this->address();
    EXPECT_EQ(::bind(listener.get(), as_generic(address), sizeof address), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    return listener;
  }

  char directory_[32] = "/tmp/bulkhead-test-XXXXXX";
  std::string path_;
  Fd kernel_ = counting_guest();
  Fd socket_;
  std::thread thread_;
  Outcome outcome_ = Outcome::kFailed;
};

const std::string kSuspended = "error busy the partition is suspended";
const std::string kNotPaused = "error not_found the partition is not paused";
const std::string kEnding = "error busy the partition is ending";

TEST_F(MonitorTest, ASuspendedPartitionIsOnlyResumedOrEnded) {
  EXPECT_EQ(ask("resume"), kNotPaused);
  EXPECT_EQ(ask("suspend"), "ok");
  EXPECT_EQ(state(), "suspended");
  for (const char* request : {"suspend", "pause", "stop", "resize 134217728", "peek 0 16"}) {
    EXPECT_EQ(ask(request), kSuspended) << request;
  }
  EXPECT_EQ(ask("shared"), "ok");
  EXPECT_EQ(ask("resume"), "ok");
  EXPECT_EQ(state(), "running");
  EXPECT_EQ(ask("resume"), kNotPaused);
}

TEST_F(MonitorTest, ASuspensionComesAndGoesWithinAPause) {
  EXPECT_EQ(ask("pause"), "ok");
  EXPECT_EQ(ask("suspend"), "ok");
  EXPECT_EQ(state(), "suspended");
  EXPECT_EQ(ask("resume"), "ok");
  EXPECT_EQ(state(), "paused");
  EXPECT_EQ(ask("resume"), "ok");
  EXPECT_EQ(state(), "running");
}

// The guest has no driver, so it never follows.
TEST_F(MonitorTest, ASuspensionWhileTheGuestIsResized) {
  EXPECT_EQ(ask("resize " + std::to_string(kBoot + kGrowthUnit)), "ok");
  EXPECT_EQ(ask("suspend"), "ok");
  EXPECT_EQ(ask("resize " + std::to_string(kBoot)), kSuspended);
  EXPECT_EQ(ask("resume"), "ok");
  EXPECT_NE(ask("status").find("target_bytes=201326592"), std::string::npos);
  EXPECT_EQ(ask("resize " + std::to_string(kBoot)), "ok");
}

TEST_F(MonitorTest, RefusesSizesThatCannotBe) {
  EXPECT_NE(ask("resize 2097152").find("less than it was started with"), std::string::npos);
  EXPECT_NE(ask("resize 1073741824").find("not started to grow that large"), std::string::npos);
  EXPECT_NE(ask("resize 67108865").find("blocks of 2 MiB"), std::string::npos);
}

TEST_F(MonitorTest, EndsWhileSuspended) {
  EXPECT_EQ(ask("suspend"), "ok");
  EXPECT_EQ(end(), Outcome::kStopped);
}

// Behind the end nothing is begun; also not what came together with it.
TEST_F(MonitorTest, AnEndingPartitionIsLeftAlone) {
  send("suspend\nkill\nresume\nsuspend\npause\nresize 67108864\nstop\n");
  EXPECT_EQ(answer(), "ok");
  EXPECT_EQ(answer(), "ok");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(answer(), kEnding) << i;
}

}  // namespace
}  // namespace bulkhead
