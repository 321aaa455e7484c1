// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_hub.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace bulkhead {
namespace {

using Port = ConsoleBackend::Port;

struct Pair {
  Fd ours;
  Fd theirs;
};

Pair socket_pair() {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

Pair pipe_pair(int flags) {
  int fds[2];
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC | flags), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

std::string read_available(int fd) {
  std::string out;
  char buffer[4096];
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(got));
  }
  return out;
}

void type(int fd, std::string_view text) {
  EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

// A guest console that has room for `room` bytes.
class FakeConsole final : public ConsoleInput {
 public:
  std::size_t receive(std::span<const std::byte> bytes) override {
    const std::size_t count = std::min(room, bytes.size());
    for (std::byte byte : bytes.first(count)) got.push_back(static_cast<char>(byte));
    room -= count;
    return count;
  }

  std::size_t room = 1 << 20;
  std::string got;
};

class ConsoleHubTest : public ::testing::Test {
 protected:
  ConsoleHubTest() : loop_(EventLoop::create().value()) { ::signal(SIGPIPE, SIG_IGN); }

  void start(const ConsoleSpec& spec) {
    auto hub = ConsoleHub::create(*loop_, spec, [this] { ++quits_; });
    ASSERT_TRUE(hub);
    hub_ = std::move(hub).value();
    hub_->connect(Port::kSerial, &serial_);
    hub_->connect(Port::kVirtio, &virtio_);
  }

  void guest_writes(std::string_view text, Port port = Port::kVirtio) {
    hub_->write(port, std::as_bytes(std::span(text)));
  }

  // Lets the loop handle all that is ready.
  void settle() {
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(loop_->run_once(0));
  }

  std::unique_ptr<EventLoop> loop_;
  FakeConsole serial_;
  FakeConsole virtio_;
  int quits_ = 0;
  std::unique_ptr<ConsoleHub> hub_;
};

TEST_F(ConsoleHubTest, OutputReachesSocketPipeAndNull) {
  Pair socket = socket_pair();
  start({.out_fd = socket.theirs.release()});
  guest_writes("one ");
  guest_writes("two", Port::kSerial);
  settle();
  EXPECT_EQ(read_available(socket.ours.get()), "one two");

  Pair pipe = pipe_pair(0);
  start({.out_fd = pipe.theirs.release()});
  guest_writes(std::string(1000, 'x'));
  settle();
  EXPECT_EQ(read_available(pipe.ours.get()), std::string(1000, 'x'));

  start({.in_fd = ::open("/dev/null", O_RDONLY), .out_fd = ::open("/dev/null", O_WRONLY)});
  guest_writes("x");
  settle();
}

TEST_F(ConsoleHubTest, AFullPipeDoesNotBlockAndLosesTheOldestOnly) {
  Pair pipe = pipe_pair(0);  // a blocking descriptor, as a shell hands it out
  start({.out_fd = pipe.theirs.release()});
  std::string all;
  for (int i = 0; i < 60000; ++i) all += std::to_string(i) + "\n";
  for (std::size_t at = 0; at < all.size(); at += 1000) {
    guest_writes(std::string_view(all).substr(at, 1000));
    settle();
  }
  std::string got;
  for (int i = 0; i < 2000; ++i) {
    got += read_available(pipe.ours.get());
    settle();
  }
  EXPECT_NE(got.find("bytes of output lost"), std::string::npos);
  EXPECT_EQ(got.substr(got.size() - 1000), all.substr(all.size() - 1000));
  EXPECT_EQ(got.substr(0, 1000), all.substr(0, 1000));
}

TEST_F(ConsoleHubTest, InputFollowsTheConsoleThatWroteLast) {
  Pair in = pipe_pair(0);
  start({.in_fd = in.ours.release()});
  type(in.theirs.get(), "a");
  settle();
  guest_writes("login: ", Port::kSerial);
  type(in.theirs.get(), "b");
  settle();
  guest_writes("login: ", Port::kVirtio);
  type(in.theirs.get(), "c");
  settle();
  hub_->connect(Port::kVirtio, nullptr);
  type(in.theirs.get(), "d");
  settle();
  EXPECT_EQ(serial_.got, "bd");
  EXPECT_EQ(virtio_.got, "ac");
}

TEST_F(ConsoleHubTest, InputWaitsForRoom) {
  Pair in = pipe_pair(O_NONBLOCK);
  start({.in_fd = in.ours.release()});
  virtio_.room = 3;
  std::string sent;
  for (int i = 0; i < 8000; ++i) sent += static_cast<char>('a' + i % 26);
  type(in.theirs.get(), sent);
  settle();
  EXPECT_EQ(virtio_.got, sent.substr(0, 3));
  in.theirs.reset();
  settle();
  while (virtio_.got.size() < sent.size()) {
    const std::size_t before = virtio_.got.size();
    virtio_.room = 500;
    hub_->input_ready(Port::kVirtio);
    settle();
    ASSERT_GT(virtio_.got.size(), before);
  }
  EXPECT_EQ(virtio_.got, sent);
}

TEST_F(ConsoleHubTest, AFileIsInputToo) {
  char path[] = "/tmp/bulkhead-hub-test-XXXXXX";
  const Fd file(::mkstemp(path));
  ::unlink(path);
  const std::string text(10000, 'i');
  type(file.get(), text);
  ::lseek(file.get(), 0, SEEK_SET);
  start({.in_fd = file.duplicate()->release()});
  settle();
  EXPECT_EQ(virtio_.got, text);
}

TEST_F(ConsoleHubTest, EscapesAreForTerminalsOnly) {
  Pair in = pipe_pair(0);
  Pair out = pipe_pair(0);
  start({.in_fd = in.ours.release(), .out_fd = out.theirs.release(), .escapes = true});
  type(in.theirs.get(),
       "a\x01\x01"
       "b\x01"
       "zc\x01h");
  settle();
  EXPECT_EQ(virtio_.got,
            "a\x01"
            "bc");
  EXPECT_NE(read_available(out.ours.get()).find("Ctrl-A x"), std::string::npos);
  EXPECT_EQ(quits_, 0);
  type(in.theirs.get(), "\x01");
  settle();
  type(in.theirs.get(), "x");
  settle();
  EXPECT_EQ(quits_, 1);

  Pair plain = pipe_pair(0);
  start({.in_fd = plain.ours.release()});
  virtio_.got.clear();
  type(plain.theirs.get(), "\x01x");
  settle();
  EXPECT_EQ(virtio_.got, "\x01x");
  EXPECT_EQ(quits_, 1);
}

TEST_F(ConsoleHubTest, TheUserCanQuitAGuestThatDoesNotListen) {
  Pair in = pipe_pair(O_NONBLOCK);
  start({.in_fd = in.ours.release(), .escapes = true});
  virtio_.room = 0;
  for (int i = 0; i < 40; ++i) {
    type(in.theirs.get(), std::string(4096, 'y'));
    settle();
  }
  type(in.theirs.get(), "\x01x");
  settle();
  EXPECT_EQ(quits_, 1);
}

TEST_F(ConsoleHubTest, ClientsGetTheHistoryAndTypeToo) {
  start({});
  std::string output(300000, 'o');
  output += "recent";
  guest_writes(output);
  settle();
  Pair client = socket_pair();
  ASSERT_TRUE(hub_->attach_client(std::move(client.theirs)));
  settle();
  const std::string history = read_available(client.ours.get());
  EXPECT_EQ(history.size(), ConsoleHub::kHistoryBytes);
  EXPECT_TRUE(history.ends_with("recent"));
  guest_writes("later");
  settle();
  EXPECT_EQ(read_available(client.ours.get()), "later");
  type(client.ours.get(), "typed");
  settle();
  EXPECT_EQ(virtio_.got, "typed");
}

TEST_F(ConsoleHubTest, ClientsThatLeaveMakeRoom) {
  start({});
  std::vector<Fd> kept;
  for (int i = 0; i < 50; ++i) {  // come and go, while the guest is silent
    Pair client = socket_pair();
    ASSERT_TRUE(hub_->attach_client(std::move(client.theirs))) << i;
    client.ours.reset();
    settle();
  }
  while (hub_->has_room() && kept.size() < 100) {
    Pair client = socket_pair();
    ASSERT_TRUE(hub_->attach_client(std::move(client.theirs)));
    kept.push_back(std::move(client.ours));
  }
  EXPECT_LE(kept.size(), ConsoleHub::kMaxClients + 2);
  Pair refused = socket_pair();
  EXPECT_FALSE(hub_->attach_client(std::move(refused.theirs)));
}

TEST_F(ConsoleHubTest, ASlowClientDoesNotHoldUpTheTerminal) {
  Pair terminal = socket_pair();
  start({.out_fd = terminal.theirs.release()});
  Pair slow = socket_pair();
  ASSERT_TRUE(hub_->attach_client(std::move(slow.theirs)));
  std::size_t got = 0;
  for (int i = 0; i < 2000; ++i) {
    guest_writes(std::string(1000, 'z'));
    settle();
    got += read_available(terminal.ours.get()).size();
  }
  EXPECT_EQ(got, 2000U * 1000U);
}

TEST_F(ConsoleHubTest, DrainWritesEverythingOutOrGivesUp) {
  Pair pipe = pipe_pair(0);
  start({.out_fd = pipe.theirs.release()});
  const std::string text(200000, 'd');
  guest_writes(text);
  std::string got;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t n; (n = ::read(pipe.ours.get(), buffer, sizeof buffer)) > 0;) {
      got.append(buffer, static_cast<std::size_t>(n));
    }
  });
  hub_->drain(10000);
  hub_.reset();  // closes the pipe
  reader.join();
  EXPECT_EQ(got, text);

  Pair stuck = pipe_pair(0);
  start({.out_fd = stuck.theirs.release()});
  guest_writes(text);
  const auto before = std::chrono::steady_clock::now();
  hub_->drain(100);
  const auto took = std::chrono::steady_clock::now() - before;
  EXPECT_GE(took, std::chrono::milliseconds(99));
  EXPECT_LT(took, std::chrono::seconds(5));
}

TEST_F(ConsoleHubTest, TheLogIsBoundedAndKeepsTheEnd) {
  char path[] = "/tmp/bulkhead-hub-test-XXXXXX";
  const Fd file(::mkstemp(path));
  ::unlink(path);
  start({.log_fd = file.duplicate()->release()});
  std::string last;
  for (int i = 0; i < 3000; ++i) {
    last = std::string(990, 'l') + std::to_string(1000000 + i) + "\n";
    guest_writes(last);
    settle();
  }
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  EXPECT_LE(static_cast<std::uint64_t>(size), ConsoleHub::kMaxLogBytes);
  EXPECT_GE(static_cast<std::uint64_t>(size), ConsoleHub::kHistoryBytes);
  std::string end(last.size(), '\0');
  EXPECT_EQ(::pread(file.get(), end.data(), end.size(), size - static_cast<off_t>(end.size())),
            static_cast<ssize_t>(end.size()));
  EXPECT_EQ(end, last);
}

TEST_F(ConsoleHubTest, OurOwnMessagesGoToTheLog) {
  char path[] = "/tmp/bulkhead-hub-test-XXXXXX";
  const Fd file(::mkstemp(path));
  ::unlink(path);
  Pair pipe = pipe_pair(O_NONBLOCK);
  start({.log_fd = file.duplicate()->release(), .messages_fd = pipe.ours.release()});
  guest_writes("guest says\r\n");
  settle();
  type(pipe.theirs.get(), "level=error event=disk_full\n");
  settle();
  char text[200] = {};
  EXPECT_GT(::pread(file.get(), text, sizeof text - 1, 0), 0);
  EXPECT_STREQ(text, "guest says\r\nlevel=error event=disk_full\n");
}

TEST_F(ConsoleHubTest, AClosedTerminalDoesNotSpinTheLoop) {
  Pair out = pipe_pair(0);
  Pair in = pipe_pair(0);
  start({.in_fd = in.ours.release(), .out_fd = out.theirs.release()});
  out.ours.reset();
  in.theirs.reset();
  guest_writes("nobody reads this");
  settle();
  guest_writes("nor this");
  settle();
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(loop_->run_once(50));  // nothing is ready any more
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(45));
}

TEST_F(ConsoleHubTest, ManyThreadsMayWrite) {
  Pair terminal = socket_pair();
  start({.out_fd = terminal.theirs.release()});
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([this] {
      for (int i = 0; i < 1000; ++i) guest_writes("0123456789", Port::kSerial);
    });
  }
  std::size_t got = 0;
  for (auto& writer : writers) writer.join();
  for (int i = 0; i < 10; ++i) {
    settle();
    got += read_available(terminal.ours.get()).size();
  }
  EXPECT_EQ(got, 40000U);
}

}  // namespace
}  // namespace bulkhead
