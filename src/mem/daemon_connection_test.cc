// SPDX-License-Identifier: Apache-2.0
#include "mem/daemon_connection.h"

#include <gtest/gtest.h>

#include <chrono>

#include "mem/fake_daemon_for_test.h"

namespace bulkhead::daemon {
namespace {

using Packet = FakeDaemon::Packet;

constexpr auto kHello = static_cast<std::uint32_t>(Request::kHello);

TEST(DaemonConnection, KnowsTheDaemonsProcess) {
  const FakeDaemon daemon(
      [](const Packet& request) { return FakeDaemon::Answer{{0, request[1], 1, 0}}; });
  const auto connection = Connection::open(daemon.path(), 5);
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->daemon(), ::getpid());
}

// What it says of one request would be taken for the answer to the next.
TEST(DaemonConnection, IsClosedWhenAnAnswerIsLate) {
  const FakeDaemon daemon([](const Packet& request) {
    if (request[0] != kHello) std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    return FakeDaemon::Answer{{0, request[1], 1, 0}};
  });
  auto connection = Connection::open(daemon.path(), 1).value();
  EXPECT_EQ(connection.pools().error().code, Errc::kTimeout);
  EXPECT_FALSE(connection.valid());
  EXPECT_EQ(connection.pools().error().code, Errc::kClosed);
}

TEST(DaemonConnection, IsClosedByAnAnswerToAnotherRequest) {
  const FakeDaemon daemon([](const Packet& request) {
    const std::uint32_t serial = request[0] == kHello ? request[1] : request[1] - 1;
    return FakeDaemon::Answer{{0, serial, 0, 0}};
  });
  auto connection = Connection::open(daemon.path(), 5).value();
  EXPECT_EQ(connection.pools().error().code, Errc::kMalformed);
  EXPECT_FALSE(connection.valid());
}

TEST(DaemonConnection, ARefusalLeavesItOpen) {
  const FakeDaemon daemon([](const Packet& request) {
    const bool refused = request[0] != kHello;
    return FakeDaemon::Answer{{refused ? status_of(Errc::kBusy) : 0, request[1], 0x79737562, 0}};
  });
  auto connection = Connection::open(daemon.path(), 5).value();
  EXPECT_EQ(connection.pools().error().code, Errc::kBusy);
  EXPECT_TRUE(connection.valid());
}

}  // namespace
}  // namespace bulkhead::daemon
