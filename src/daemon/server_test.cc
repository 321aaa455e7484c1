// SPDX-License-Identifier: Apache-2.0
// Hostile and clumsy clients, in one process with the daemon.
#include "daemon/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <random>

#include "daemon/fakes_for_test.h"

namespace bulkhead::daemon {
namespace {

using Packet = std::vector<std::byte>;
using Writer = MessageWriter<kMaxRequest>;

Packet packet_of(const Writer& writer) {
  return {writer.bytes().begin(), writer.bytes().end()};
}

Writer request(Request kind, std::uint32_t serial = 5) {
  return {static_cast<std::uint32_t>(kind), serial};
}

Packet hello() {
  return packet_of(request(Request::kHello).put(kProtocolVersion).put(std::uint32_t{0}));
}

Packet enter(std::string_view name, std::span<const FrameRun> held = {}) {
  Writer writer = request(Request::kEnter);
  writer.put_text(name, kNameBytes);
  writer.put(static_cast<std::uint32_t>(held.size())).put(std::uint32_t{0});
  for (const FrameRun& run : held) writer.put(run);
  return packet_of(writer);
}

Packet take(std::uint64_t frames, Backing backing = Backing::kMemfd) {
  return packet_of(request(Request::kTake)
                       .put(frames)
                       .put(static_cast<std::uint32_t>(backing))
                       .put(ledger::kNoNode));
}

class ServerTest : public ::testing::Test {
 protected:
  struct Answer {
    bool closed = false;
    bool silent = false;
    std::uint32_t status = 0;
    std::string text;
    Packet body;
  };

  void SetUp() override {
    set_log_level(LogLevel::kError);
    start();
  }
  void start(std::uint64_t per_user = kFakeFrames) {
    server_.reset();
    keeper_ = make_keeper(directory_.path(), true, per_user);
    server_ = Server::create(*loop_, *keeper_, {.listener = Fd(), .group = {}}).value();
  }
  void settle() {
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(loop_->run_once(0));
  }
  Fd connect() {
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    server_->admit(Fd(pair[0]));
    return Fd(pair[1]);
  }
  Fd connect_and_enter(std::string_view name = "web") {
    Fd client = connect();
    EXPECT_EQ(ask(client, hello()).status, 0U);
    EXPECT_EQ(ask(client, enter(name)).status, 0U);
    return client;
  }
  Answer ask(const Fd& client, std::span<const std::byte> packet) {
    ::send(client.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    settle();
    return receive(client);
  }
  static Answer receive(const Fd& client) {
    Packet bytes(kMaxReply);
    const ssize_t got = ::recv(client.get(), bytes.data(), bytes.size(), 0);
    if (got < 0) return {.closed = false, .silent = true, .status = 0, .text = "", .body = {}};
    if (got == 0) return {.closed = true, .silent = false, .status = 0, .text = "", .body = {}};
    bytes.resize(static_cast<std::size_t>(got));
    Answer answer;
    answer.status = get_le<std::uint32_t>(bytes, 0);
    EXPECT_EQ(get_le<std::uint32_t>(bytes, 4), 5U) << "not the request's serial number";
    answer.body.assign(bytes.begin() + kHeaderBytes, bytes.end());
    if (answer.status != 0) {
      for (std::byte byte : answer.body) answer.text.push_back(static_cast<char>(byte));
    }
    return answer;
  }

  TempDir directory_;
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  std::unique_ptr<FrameKeeper> keeper_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, TakesAndGivesBack) {
  const Fd client = connect_and_enter();
  const Answer taken = ask(client, take(3));
  ASSERT_EQ(taken.status, 0U) << taken.text;
  const FrameRun run{FrameIndex(get_le<std::uint64_t>(taken.body, 0)),
                     get_le<std::uint64_t>(taken.body, 8)};
  EXPECT_EQ(run.frames, 3U);
  EXPECT_EQ(keeper_->ledger().free_frames(0), kFakeFrames - 3);
  EXPECT_EQ(ask(client, packet_of(request(Request::kSeal).put(run))).status, 0U);
  EXPECT_EQ(ask(client, packet_of(request(Request::kUnseal).put(run))).status, 0U);
  EXPECT_EQ(ask(client, packet_of(request(Request::kPlace).put(run).put(std::uint64_t{0}))).status,
            0U);
  EXPECT_EQ(ask(client, packet_of(request(Request::kGiveBack).put(run))).status, 0U);
  EXPECT_EQ(keeper_->ledger().free_frames(0), kFakeFrames);
  EXPECT_EQ(ask(client, packet_of(request(Request::kGiveBack).put(run))).text,
            "that is no extent of this partition");
}

TEST_F(ServerTest, AUsersShareIsALimit) {
  start(4);
  const Fd client = connect_and_enter();
  EXPECT_EQ(ask(client, take(5)).status, status_of(Errc::kExhausted));
  EXPECT_EQ(ask(client, take(~0ULL)).status, status_of(Errc::kExhausted));
  EXPECT_EQ(ask(client, take(4)).status, 0U);
  EXPECT_EQ(ask(client, take(1)).text, "this user's share of the host's frames is used up");
  start(5);  // the share counts what the ledger says, not what this daemon gave
  const Fd again = connect();
  ask(again, hello());
  const FrameRun held{FrameIndex(0), 4};
  EXPECT_EQ(ask(again, enter("web", {&held, 1})).status, 0U);
  EXPECT_EQ(ask(again, take(2)).status, status_of(Errc::kExhausted));
  EXPECT_EQ(ask(again, take(1)).status, 0U);
}

TEST_F(ServerTest, WhatTheOwnerDidNotHearOfIsTakenBack) {
  const Fd client = connect_and_enter();
  ASSERT_EQ(ask(client, take(2)).status, 0U);
  ASSERT_EQ(ask(client, take(3)).status, 0U);
  const Fd again = connect();
  ask(again, hello());
  const FrameRun foreign{FrameIndex(7), 1};
  EXPECT_EQ(ask(again, enter("web", {&foreign, 1})).text,
            "the process names frames that are not its own");
  const FrameRun known{FrameIndex(0), 2};
  EXPECT_EQ(ask(again, enter("web", {&known, 1})).status, 0U);
  EXPECT_EQ(keeper_->ledger().free_frames(0), kFakeFrames - 2);
  EXPECT_EQ(ask(client, take(1)).text, "enter a partition first") << "two speak for one partition";
}

TEST_F(ServerTest, NothingIsGivenWhileEnding) {
  const Fd client = connect_and_enter();
  server_->refuse_takes();
  EXPECT_EQ(ask(client, take(1)).text, "the daemon is ending");
}

TEST_F(ServerTest, RefusesWhatIsNoRequest) {
  const std::vector<std::pair<Packet, std::string>> cases = {
      {Packet(1), "data ends too early"},
      {take(1), "say hello first"},
      {packet_of(request(static_cast<Request>(99))), "no such request"},
      {packet_of(request(Request::kHello).put(kProtocolVersion)), "the request has a wrong length"},
      {packet_of(request(Request::kHello).put(2U).put(0U)), "this daemon speaks version 1"},
      {Packet(kMaxRequest + 1), "the request is too long"},
      {Packet(100'000), "the request is too long"}};
  for (const auto& [packet, text] : cases) {
    const Fd client = connect();
    ::send(client.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    settle();
    Packet bytes(kMaxReply);
    const ssize_t got = ::recv(client.get(), bytes.data(), bytes.size(), 0);
    ASSERT_GT(got, static_cast<ssize_t>(kHeaderBytes)) << text;
    const auto* answer = static_cast<const char*>(static_cast<const void*>(bytes.data()));
    EXPECT_EQ(std::string(answer + kHeaderBytes, static_cast<std::size_t>(got) - kHeaderBytes),
              text);
  }
  const Fd client = connect();
  ask(client, hello());
  EXPECT_EQ(ask(client, take(1)).text, "enter a partition first");
  for (const char* name : {"", "../x", "a b"}) {
    const Fd other = connect();
    ask(other, hello());
    EXPECT_EQ(ask(other, enter(name)).text, "an impossible name of a partition") << name;
    EXPECT_TRUE(receive(other).closed);
  }
}

TEST_F(ServerTest, GarbageHarmsNobody) {
  std::mt19937 random(4);
  for (int i = 0; i < 4000; ++i) {
    const Fd client = connect();
    if (i % 4 != 0) {
      ASSERT_EQ(ask(client, hello()).status, 0U);
    }
    if (i % 3 == 0) ask(client, enter("web"));
    const auto kind = static_cast<Request>(random() % 13);
    const std::size_t usual = std::max(request_bytes(kind), kHeaderBytes);
    Packet packet(i % 2 == 0 ? usual : random() % 300);
    for (std::byte& byte : packet) {
      byte = static_cast<std::byte>(i % 5 == 0 ? random() : random() % 4);
    }
    if (packet.size() >= kHeaderBytes) {
      put_le(std::span(packet), 0, static_cast<std::uint32_t>(kind));
      put_le(std::span(packet), 4, std::uint32_t{5});
    }
    ::send(client.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    settle();
    ASSERT_TRUE(keeper_->ledger().check()) << keeper_->ledger().check().error().what;
  }
  EXPECT_EQ(ask(connect_and_enter(), take(1)).status, 0U);
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_F(ServerTest, DescriptorsOfClientsAreNotKept) {
  const Fd client = connect();
  Packet packet = hello();
  iovec part{.iov_base = packet.data(), .iov_len = packet.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    const int number = client.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof number);
    ASSERT_GT(::sendmsg(client.get(), &message, 0), 0);
    settle();
    EXPECT_EQ(receive(client).status, 0U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ServerTest, SixtyFourClientsAndNoMore) {
  std::vector<Fd> clients;
  for (std::size_t i = 0; i < Server::kMaxClients; ++i) {
    clients.push_back(connect());
    ASSERT_EQ(ask(clients.back(), hello()).status, 0U);
  }
  for (const Fd& client : clients) EXPECT_EQ(ask(client, hello()).status, 0U);
  const Fd last = connect();
  EXPECT_EQ(ask(last, hello()).status, 0U);
  EXPECT_TRUE(receive(clients[0]).closed) << "the oldest makes room";
  EXPECT_EQ(ask(clients[1], hello()).status, 0U);
  EXPECT_EQ(server_->clients(), Server::kMaxClients);
}

TEST_F(ServerTest, AClientThatDoesNotReadIsDropped) {
  const Fd deaf = connect_and_enter();
  const Fd other = connect_and_enter("other");
  const Packet packet = packet_of(request(Request::kPools));
  bool dropped = false;
  for (int i = 0; i < 10'000 && !dropped; ++i) {
    dropped = ::send(deaf.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0 && errno == EPIPE;
    ASSERT_TRUE(loop_->run_once(0));
  }
  EXPECT_TRUE(dropped);
  EXPECT_EQ(ask(other, packet).status, 0U);
}

TEST_F(ServerTest, FramesThatSomebodyStillMapsWait) {
  const Fd client = connect_and_enter();
  ASSERT_EQ(ask(client, take(2)).status, 0U);
  std::filesystem::create_directory(directory_.path() + "/pool/held");
  const FrameRun run{FrameIndex(0), 2};
  EXPECT_EQ(ask(client, packet_of(request(Request::kGiveBack).put(run))).status, 0U);
  EXPECT_EQ(keeper_->ledger().scrubbing(), std::vector<FrameRun>{run});
  EXPECT_EQ(ask(client, take(kFakeFrames)).status, status_of(Errc::kExhausted));
  std::filesystem::remove(directory_.path() + "/pool/held");
  EXPECT_EQ(keeper_->scrub_one(), FrameKeeper::Scrub::kIdle);
  EXPECT_EQ(ask(client, take(kFakeFrames)).status, 0U);
}

TEST(Access, RootAndTheGroup) {
  const auto may = [](uid_t uid, gid_t gid, std::vector<gid_t> groups, std::optional<gid_t> group) {
    return may_connect({.uid = uid, .gid = gid, .groups = std::move(groups), .process = {}}, group);
  };
  EXPECT_TRUE(may(0, 0, {}, 104));
  EXPECT_TRUE(may(1000, 104, {}, 104));
  EXPECT_TRUE(may(1000, 1000, {4, 104}, 104));
  EXPECT_FALSE(may(1000, 1000, {4, 105}, 104));
  EXPECT_FALSE(may(::geteuid() + 1, 1000, {}, std::nullopt));
}

}  // namespace
}  // namespace bulkhead::daemon
