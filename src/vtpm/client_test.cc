// SPDX-License-Identifier: Apache-2.0
#include "vtpm/client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "base/byte_reader.h"
#include "vtpm/commands_for_test.h"

namespace bulkhead::vtpm {
namespace {

using namespace std::chrono_literals;

constexpr Patience kShort{.command = 2s, .cancelled = 100ms, .other = 300ms};

Bytes sound_response() {
  return bytes_of({0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0});
}

// A process that a test plays: what it does with each request until it returns false.
class FakeProcess {
 public:
  using Behaviour = std::function<bool(int socket, const Message& request)>;

  explicit FakeProcess(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    client_end_ = Fd(ends[0]);
    own_end_ = Fd(ends[1]);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeProcess() {
    ::shutdown(own_end_.get(), SHUT_RDWR);
    thread_.join();
  }
  Fd take() { return std::move(client_end_); }

 private:
  void serve() {
    const auto buffer = std::make_unique<DatagramBuffer>();
    while (true) {
      const auto request = receive_message(own_end_.get(), *buffer);
      if (!request || !behaviour_(own_end_.get(), *request)) break;
    }
    ::shutdown(own_end_.get(), SHUT_RDWR);
  }

  Behaviour behaviour_;
  Fd client_end_;
  Fd own_end_;
  std::thread thread_;
};

bool answer(int socket, const Message& request, const Bytes& payload, std::uint32_t status = 0) {
  return send_message(socket, {.type = request.type,
                               .sequence = request.sequence,
                               .value = status,
                               .payload = payload})
      .has_value();
}

// Runs one command against a process that behaves so; afterwards nothing works any more.
Error lied_to(const FakeProcess::Behaviour& behaviour) {
  FakeProcess process(behaviour);
  Client client(process.take(), kShort);
  const auto response = run(client, get_random_command());
  CHECK(!response);
  EXPECT_TRUE(client.failed());
  EXPECT_EQ(run(client, get_random_command()).error().code, Errc::kClosed);
  EXPECT_EQ(client.init().error().code, Errc::kClosed);
  client.cancel();
  return response.error();
}

TEST(VtpmClient, HandsOverCommandsAndResponses) {
  std::uint32_t locality = 0;
  Bytes command;
  FakeProcess process([&](int socket, const Message& request) {
    locality = request.value;
    command.assign(request.payload.begin(), request.payload.end());
    return answer(socket, request, sound_response());
  });
  Client client(process.take(), kShort);
  EXPECT_EQ(run(client, get_random_command(), TpmLocality::k2).value(), sound_response());
  EXPECT_EQ(locality, 2U);
  EXPECT_EQ(command, get_random_command());
  EXPECT_FALSE(client.failed());
}

TEST(VtpmClient, ARefusalIsNoFailure) {
  FakeProcess process(
      [](int socket, const Message& request) { return answer(socket, request, {}, 3); });
  Client client(process.take(), kShort);
  EXPECT_EQ(client.init().error().code, Errc::kMalformed);
  EXPECT_FALSE(client.failed());
}

TEST(VtpmClient, LiesEndTheConnection) {
  EXPECT_EQ(lied_to([](int socket, const Message& request) {
              return answer(socket, {.type = request.type, .sequence = request.sequence + 1},
                            sound_response());
            }).code,
            Errc::kMalformed);
  EXPECT_EQ(lied_to([](int socket, const Message& request) {
              return answer(socket, {.type = MessageType::kInit, .sequence = request.sequence}, {});
            }).code,
            Errc::kMalformed);
  EXPECT_EQ(lied_to([](int socket, const Message& request) {
              return answer(socket, request, {}, kLastStatus + 1);
            }).code,
            Errc::kMalformed);
  EXPECT_EQ(lied_to([](int socket, const Message& request) {
              return answer(socket, request, sound_response(), 2);  // failed, and yet a response
            }).code,
            Errc::kMalformed);
  EXPECT_EQ(lied_to([](int socket, const Message&) {
              return ::send(socket, "\1\0\0\0short", 9, 0) == 9;
            }).code,
            Errc::kTruncated);
}

TEST(VtpmClient, OnlyResponsesOfSoundFormGetThrough) {
  const std::vector<Bytes> unsound{
      {},
      bytes_of({0x80, 1, 0, 0, 0, 10, 0, 0, 0}),
      bytes_of({0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0}),
      bytes_of({0x80, 3, 0, 0, 0, 10, 0, 0, 0, 0}),
      bytes_of({0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}),
  };
  for (const Bytes& response : unsound) {
    EXPECT_EQ(lied_to([&](int socket, const Message& request) {
                return answer(socket, request, response);
              }).code,
              Errc::kMalformed);
  }
  Bytes too_long(kTpmBufferBytes + 1);
  too_long[0] = std::byte{0x80};
  too_long[1] = std::byte{1};
  put_le(too_long, 2, __builtin_bswap32(static_cast<std::uint32_t>(too_long.size())));
  EXPECT_EQ(lied_to([&](int socket, const Message& request) {
              return answer(socket, request, too_long);
            }).code,
            Errc::kMalformed);
}

TEST(VtpmClient, AProcessThatEndsIsSeenAtOnce) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(lied_to([](int, const Message&) { return false; }).code, Errc::kClosed);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
}

TEST(VtpmClient, SilenceEnds) {
  EXPECT_EQ(lied_to([](int, const Message&) { return true; }).code, Errc::kTimeout);
}

TEST(VtpmClient, ACancelledCommandHasLessTime) {
  std::atomic<bool> cancelled = false;
  std::atomic<bool> asked = false;
  FakeProcess process([&](int, const Message& request) {
    asked = true;
    if (request.type == MessageType::kCancel) cancelled = true;
    return true;
  });
  Client client(process.take(), {.command = 60s, .cancelled = 100ms, .other = 300ms});
  std::thread canceller([&] {
    while (!asked) std::this_thread::yield();
    client.cancel();
  });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(run(client, get_random_command()).error().code, Errc::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_TRUE(cancelled);
  canceller.join();
}

// A process that reads nothing must not stop who cancels.
TEST(VtpmClient, CancellingNeverWaits) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Fd deaf(ends[1]);
  Client client{Fd(ends[0]), kShort};
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) client.cancel();
  });
  EXPECT_EQ(run(client, get_random_command()).error().code, Errc::kTimeout);
  done = true;
  canceller.join();
}

}  // namespace
}  // namespace bulkhead::vtpm
