// SPDX-License-Identifier: Apache-2.0
#include "vmm/control_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "vmm/console_hub.h"

namespace bulkhead {
namespace {

class FakeHandler final : public ControlHandler {
 public:
  PartitionStatus status() override {
    return {.state = state,
            .cpus = 2,
            .memory_bytes = 268435456,
            .max_memory_bytes = 402653184,
            .target_bytes = 268435456,
            .resident_bytes = 1048576,
            .sealed_bytes = 4096,
            .uptime_ms = 1500,
            .reboots = 1};
  }
  Result<void> request_power_button() override {
    ++power_buttons;
    if (refuse) return Error{Errc::kBusy, 0, "the guest is paused"};
    return {};
  }
  void request_stop() override { ++stops; }
  Result<void> pause() override {
    state = PartitionState::kPaused;
    return {};
  }
  Result<void> resume() override {
    state = PartitionState::kRunning;
    return {};
  }

  Result<void> suspend() override {
    state = PartitionState::kSuspended;
    return {};
  }
  Result<void> resize(std::uint64_t memory_bytes) override {
    if (memory_bytes % kGrowthUnit != 0) return Error{Errc::kInvalidArgument, 0, "not whole units"};
    resized_to = memory_bytes;
    return {};
  }
  std::string shared() override { return " range=1,2,0,r"; }
  Result<void> read_shared(Gpa from, std::span<std::byte> to) override {
    if (from != Gpa(4096)) return Error{Errc::kPermission, 0, "the guest does not share that"};
    std::fill(to.begin(), to.end(), std::byte{0x5a});
    return {};
  }

  std::uint64_t resized_to = 0;
  PartitionState state = PartitionState::kRunning;
  bool refuse = false;
  int power_buttons = 0;
  int stops = 0;
};

class ControlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    loop_ = EventLoop::create().value();
    hub_ = ConsoleHub::create(*loop_, {}, [] {}).value();
    Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address_.sun_family = AF_UNIX;  // and an abstract name that the kernel picks: unix(7), autobind
    ASSERT_EQ(::bind(listener.get(), address(), sizeof(sa_family_t)), 0);
    length_ = sizeof address_;
    ASSERT_EQ(::getsockname(listener.get(), address(), &length_), 0);
    ASSERT_EQ(::listen(listener.get(), 64), 0);
    server_ =
        ControlServer::create(
            *loop_,
            {.name = "web", .listener = std::move(listener), .handler = handler_, .console = *hub_})
            .value();
  }

  sockaddr* address() { return static_cast<sockaddr*>(static_cast<void*>(&address_)); }

  Fd connect() {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), address(), length_), 0);
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    settle();
    return fd;
  }

  void settle() {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(loop_->run_once(0));
  }

  std::string receive(const Fd& fd) {
    settle();
    char buffer[4096];
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got == 0) return "<closed>";
    return got < 0 ? "<nothing>" : std::string(buffer, static_cast<std::size_t>(got));
  }

  std::string ask(const Fd& fd, std::string_view text) {
    EXPECT_GE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), 0);
    return receive(fd);
  }

  std::unique_ptr<EventLoop> loop_;
  FakeHandler handler_;
  std::unique_ptr<ConsoleHub> hub_;
  std::unique_ptr<ControlServer> server_;
  sockaddr_un address_{};
  socklen_t length_ = 0;
};

TEST_F(ControlServerTest, AnswersEveryRequest) {
  const Fd client = connect();
  EXPECT_EQ(ask(client, "status\n"),
            "ok name=web state=running cpus=2 memory_bytes=268435456 max_memory_bytes=402653184 "
            "target_bytes=268435456 resident_bytes=1048576 sealed_bytes=4096 uptime_ms=1500 "
            "reboots=1\n");
  EXPECT_EQ(ask(client, "pause\n"), "ok\n");
  EXPECT_TRUE(ask(client, "status\n").starts_with("ok name=web state=paused "));
  EXPECT_EQ(ask(client, "resume\n"), "ok\n");
  EXPECT_EQ(ask(client, "suspend\n"), "ok\n");
  EXPECT_TRUE(ask(client, "status\n").starts_with("ok name=web state=suspended "));
  EXPECT_EQ(ask(client, "resume\n"), "ok\n");
  EXPECT_EQ(ask(client, "resize 268435456\n"), "ok\n");
  EXPECT_EQ(handler_.resized_to, 268435456U);
  EXPECT_EQ(ask(client, "shared\n"), "ok range=1,2,0,r\n");
  EXPECT_EQ(ask(client, "peek 4096 3\n"), "ok 5a5a5a\n");
  EXPECT_EQ(ask(client, "stop\n"), "ok\n");
  EXPECT_EQ(handler_.power_buttons, 1);
  handler_.refuse = true;
  EXPECT_EQ(ask(client, "stop\n"), "error busy the guest is paused\n");
  EXPECT_EQ(ask(client, "kill\n"), "ok\n");
  EXPECT_EQ(handler_.stops, 1);
}

TEST_F(ControlServerTest, UnknownRequestsAreRefused) {
  const Fd client = connect();
  for (const char* bad : {"\n", "reboot\n", " status\n", "status \n", "STATUS\n", "status\r\n"}) {
    EXPECT_EQ(ask(client, bad), "error malformed no such request\n") << bad;
  }
  EXPECT_EQ(ask(client, std::string_view("st\0tus\n", 7)), "error malformed no such request\n");
}

TEST_F(ControlServerTest, NumbersAreChecked) {
  const Fd client = connect();
  for (const char* bad : {"resize \n", "resize x\n", "resize 1 2\n", "resize -1\n",
                          "resize 99999999999999999999\n"}) {
    EXPECT_EQ(ask(client, bad), "error malformed resize takes a number of bytes\n") << bad;
  }
  EXPECT_EQ(ask(client, "resize 4096\n"), "error invalid_argument not whole units\n");
  for (const char* bad : {"peek 4096\n", "peek 4096 0\n", "peek 4096 4097\n", "peek  1\n",
                          "peek 1 2 3\n", "peek 0x10 1\n"}) {
    EXPECT_TRUE(ask(client, bad).starts_with("error malformed peek takes")) << bad;
  }
  EXPECT_EQ(ask(client, "peek 0 1\n"), "error permission the guest does not share that\n");
}

TEST_F(ControlServerTest, LinesMayComeInPartsOrTogether) {
  const Fd client = connect();
  EXPECT_EQ(ask(client, "sto"), "<nothing>");
  EXPECT_EQ(ask(client, "p\nkill\nsto"), "ok\nok\n");
  EXPECT_EQ(ask(client, "p\n"), "ok\n");
  EXPECT_EQ(handler_.power_buttons, 2);
}

TEST_F(ControlServerTest, AnOverlongLineEndsTheConnection) {
  const Fd client = connect();
  EXPECT_EQ(ask(client, std::string(ControlServer::kMaxLine, 'x')),
            "error malformed the request is too long\n");
  EXPECT_EQ(receive(client), "<closed>");
  const Fd exact = connect();
  std::string line(ControlServer::kMaxLine - 1, 'x');
  line += '\n';
  EXPECT_EQ(ask(exact, line), "error malformed no such request\n");
}

TEST_F(ControlServerTest, AClientThatDoesNotReadIsDropped) {
  const Fd client = connect();
  ssize_t sent = 0;
  for (int i = 0; i < 100000 && sent >= 0; ++i) {
    sent = ::send(client.get(), "status\n", 7, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) sent = 0;
    ASSERT_TRUE(loop_->run_once(0));
  }
  EXPECT_LT(sent, 0);
  EXPECT_EQ(ask(connect(), "stop\n"), "ok\n");
}

TEST_F(ControlServerTest, IdleClientsCannotLockOthersOut) {
  std::vector<Fd> idle;
  for (std::size_t i = 0; i < ControlServer::kMaxClients; ++i) idle.push_back(connect());
  EXPECT_EQ(ask(idle.front(), "stop\n"), "ok\n");
  const Fd late = connect();
  EXPECT_EQ(ask(late, "stop\n"), "ok\n");
  EXPECT_EQ(receive(idle.front()), "<closed>");
  EXPECT_EQ(ask(idle.back(), "stop\n"), "ok\n");
}

TEST_F(ControlServerTest, AFloodOfConnectionsIsServed) {
  for (int i = 0; i < 500; ++i) EXPECT_EQ(ask(connect(), "stop\n"), "ok\n");
  EXPECT_EQ(handler_.power_buttons, 500);
}

TEST_F(ControlServerTest, AConnectionBecomesAConsole) {
  hub_->write(ConsoleBackend::Port::kVirtio, std::as_bytes(std::span("before", 6)));
  const Fd client = connect();
  EXPECT_EQ(ask(client, "console\n"), "ok\nbefore");
  hub_->write(ConsoleBackend::Port::kVirtio, std::as_bytes(std::span("after", 5)));
  EXPECT_EQ(receive(client), "after");
  EXPECT_EQ(ask(client, "status\n"), "<nothing>");  // it is console input now
}

TEST_F(ControlServerTest, TooManyConsolesAreRefused) {
  std::vector<Fd> consoles;
  std::string answer;
  do {
    consoles.push_back(connect());
    answer = ask(consoles.back(), "console\n");
  } while (answer == "ok\n" && consoles.size() < 100);
  EXPECT_EQ(answer, "error exhausted too many console clients\n");
}

// Whatever is sent, the server neither breaks nor stops serving.
TEST_F(ControlServerTest, SurvivesRandomBytes) {
  unsigned state = 1;
  for (int i = 0; i < 300; ++i) {
    std::string noise;
    for (int n = 0; n < 100; ++n) {
      state = state * 1664525U + 1013904223U;
      noise.push_back(static_cast<char>(state >> 24));
    }
    const Fd client = connect();
    ASSERT_GE(::send(client.get(), noise.data(), noise.size(), MSG_NOSIGNAL), 0);
    settle();
  }
  EXPECT_EQ(ask(connect(), "stop\n"), "ok\n");
}

}  // namespace
}  // namespace bulkhead
