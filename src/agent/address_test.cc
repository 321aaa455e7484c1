// SPDX-License-Identifier: Apache-2.0
#include "agent/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>

#include <cstring>

#include "agent/backoff.h"

namespace bulkhead::agent {
namespace {

template <class T>
T as(const BrokerAddress& address) {
  EXPECT_EQ(address.size, sizeof(T));
  T raw;
  std::memcpy(&raw, &address.storage, sizeof raw);
  return raw;
}

TEST(BrokerAddress, OfTcpAndVsock) {
  const auto v4 = parse_address("tcp:192.0.2.1:8443");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "192.0.2.1");
  EXPECT_EQ(as<sockaddr_in>(*v4).sin_port, htons(8443));
  const auto v6 = parse_address("tcp:[2001:db8::1]:1");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "2001:db8::1");
  EXPECT_EQ(as<sockaddr_in6>(*v6).sin6_port, htons(1));
  const auto vsock = parse_address("vsock:2:4294967295");
  ASSERT_TRUE(vsock);
  EXPECT_EQ(vsock->host, "");
  EXPECT_EQ(as<sockaddr_vm>(*vsock).svm_cid, 2u);
  EXPECT_EQ(as<sockaddr_vm>(*vsock).svm_port, 4294967295u);
}

TEST(BrokerAddress, AnythingElseIsRefusedWithAnExample) {
  for (const char* text : {"",
                           "tcp",
                           "tcp:",
                           "tcp:192.0.2.1",
                           "tcp:192.0.2.1:",
                           "tcp:192.0.2.1:0",
                           "tcp:192.0.2.1:65536",
                           "tcp:192.0.2.1:+1",
                           "tcp:192.0.2.1: 1",
                           "tcp:192.0.2.1:1 ",
                           "tcp:192.0.2:1",
                           "tcp:localhost:8443",
                           "tcp:2001:db8::1:8443",
                           "tcp:[2001:db8::1]",
                           "tcp:[fe80::1%eth0]:1",
                           "tcp:[]:1",
                           "tcp:[:1",
                           "vsock:2",
                           "vsock:2:0",
                           "vsock:-1:1",
                           "vsock:4294967296:1",
                           "vsock:host:1",
                           "https://192.0.2.1:8443"}) {
    const auto address = parse_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_NE(std::string(address.error().what).find("tcp:192.0.2.1:8443"), std::string::npos);
  }
}

TEST(BrokerAddress, WhereNobodyListensItIsSaid) {
  const auto address = parse_address("tcp:127.0.0.1:1");
  const auto socket = connect_to(*address, Deadline::after(std::chrono::seconds(10)));
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().os_errno, ECONNREFUSED);
}

TEST(Backoff, DoublesWithJitterUpToItsLimit) {
  bool differs = false;
  for (int run = 0; run < 20; ++run) {
    Backoff backoff;
    Backoff other;
    auto step = Backoff::kFirst;
    for (int i = 0; i < 10; ++i) {
      const auto wait = *backoff.next();
      EXPECT_GE(wait, step / 2);
      EXPECT_LE(wait, step);
      differs = differs || wait != *other.next();
      step = std::min(step * 2, Backoff::kLongest);
    }
  }
  EXPECT_TRUE(differs);
}

TEST(Backoff, WaitsAsLongAsItIsAskedTo) {
  Backoff backoff;
  EXPECT_GE(*backoff.next(3), std::chrono::seconds(3));
  EXPECT_LE(*backoff.next(100'000), Backoff::kLongest);
}

}  // namespace
}  // namespace bulkhead::agent
