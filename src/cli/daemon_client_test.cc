// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_client.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "cli/error.h"
#include "mem/ledger.h"

namespace bulkhead::cli {
namespace {

using Packet = std::vector<std::uint32_t>;

// Answers each request as the test says, on a thread of its own.
class FakeDaemon {
 public:
  struct Answer {
    Packet packet;
    int file = -1;
  };
  using Answers = std::function<Answer(const Packet&)>;

  explicit FakeDaemon(Answers answers) : answers_(std::move(answers)) {
    std::string name = std::filesystem::temp_directory_path() / "bulkhead-daemon-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    EXPECT_EQ(::bind(listener_.get(), generic, sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  std::string path() const { return directory_ / "s"; }

 private:
  void serve() const {
    const Fd connection(::accept(listener_.get(), nullptr, nullptr));
    Packet request(64);
    for (;;) {
      const ssize_t got = ::recv(connection.get(), request.data(), request.size() * 4, 0);
      if (got <= 0) return;
      send(connection, answers_(Packet(request.begin(), request.begin() + got / 4)));
    }
  }

  static void send(const Fd& connection, Answer answer) {
    iovec part{.iov_base = answer.packet.data(), .iov_len = answer.packet.size() * 4};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (answer.file >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &answer.file, sizeof(int));
    }
    ::sendmsg(connection.get(), &message, MSG_NOSIGNAL);
  }

  Answers answers_;
  std::filesystem::path directory_;
  Fd listener_;
  std::thread thread_;
};

// A file with the words of a ledger that has one pool.
Fd ledger_file() {
  LedgerMemory storage(8);
  const PoolSetup pool{.frames = 8};
  const auto ledger = Ledger::format(storage, std::span(&pool, 1));
  EXPECT_TRUE(ledger);
  Fd file(::memfd_create("ledger", MFD_CLOEXEC));
  const auto bytes = std::as_bytes(ledger->words());
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return file;
}

TEST(DaemonClient, GetsTheLedger) {
  const Fd file = ledger_file();
  const FakeDaemon daemon([&](const Packet& request) {
    if (request[0] == 1) return FakeDaemon::Answer{{0, request[1], 1, 0}};
    return FakeDaemon::Answer{{request[0] == 10 ? 0U : 9U, request[1]}, file.get()};
  });
  const auto snapshot = ask_daemon(daemon.path());
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->daemon, ::getpid());
  EXPECT_EQ(snapshot->view.frames(), 8u);
}

TEST(DaemonClient, NoDaemonIsNoError) {
  EXPECT_FALSE(ask_daemon("/nowhere/at/all"));
}

TEST(DaemonClient, ARefusalIsTold) {
  const FakeDaemon daemon([](const Packet& request) {
    // "not now", with zeroes behind
    return FakeDaemon::Answer{{7, request[1], 0x20746f6e, 0x00776f6e, 0}};
  });
  try {
    ask_daemon(daemon.path());
    FAIL();
  } catch (const HostError& error) {
    EXPECT_STREQ(error.what(), "bulkheadd gives no ledger: not now");
  }
}

TEST(DaemonClient, NonsenseIsRefused) {
  const Fd junk(::memfd_create("junk", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(junk.get(), 4096), 0);
  const std::vector<FakeDaemon::Answers> liars = {
      [](const Packet&) { return FakeDaemon::Answer{{0}}; },         // too short
      [](const Packet&) { return FakeDaemon::Answer{{0, 99, 1}}; },  // of another request
      [](const Packet& request) { return FakeDaemon::Answer{{0, request[1], 1, 0}}; },  // no file
      [&](const Packet& request) { return FakeDaemon::Answer{{0, request[1], 1, 0}, junk.get()}; },
  };
  for (const FakeDaemon::Answers& liar : liars) {
    const FakeDaemon daemon(liar);
    EXPECT_THROW(ask_daemon(daemon.path()), HostError);
  }
}

}  // namespace
}  // namespace bulkhead::cli
