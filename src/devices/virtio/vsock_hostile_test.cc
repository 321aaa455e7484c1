// SPDX-License-Identifier: Apache-2.0
// Drivers and clients that break the rules, or exhaust what there is.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "devices/virtio/vsock_for_test.h"

namespace bulkhead {
namespace {

using VsockHostileTest = VsockTest;

TEST_F(VsockHostileTest, ClosesOnABadGreeting) {
  start();
  for (const std::string& greeting :
       {std::string("HELLO 1024\n"), std::string("CONNECT x\n"), std::string("\n"),
        std::string("CONNECT 4294967295\n"), std::string(256, 'C'), std::string(1000, ' ')}) {
    const Fd client = client_connects();
    says(client, greeting);
    run();
    const auto answer = hears(client);
    EXPECT_TRUE(!answer || answer->empty()) << greeting;
    EXPECT_EQ(connections(), 0U) << greeting;
  }
  EXPECT_FALSE(guest_receives());
}

TEST_F(VsockHostileTest, AClientThatSaysNothingIsClosedInTime) {
  create(40);
  start();
  const Fd silent = client_connects();
  const Fd asking = client_connects();
  says(asking, "CONNECT 1024\n");
  run();
  EXPECT_EQ(connections(), 2U);
  EXPECT_EQ(guest_hears(), Op::kRequest);
  run_for(120);
  EXPECT_EQ(hears(silent), "");
  EXPECT_EQ(hears(asking), "") << "the guest did not answer in time";
  EXPECT_EQ(guest_hears(), Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockHostileTest, AClientThatLeavesBeforeTheAnswerIsForgotten) {
  start();
  Fd client = client_connects();
  run();
  client.reset();
  run();
  EXPECT_EQ(connections(), 0U);
  client = client_connects();
  says(client, "CONNECT 1024\n");
  run();
  EXPECT_EQ(guest_hears(), Op::kRequest);
  client.reset();
  run();
  EXPECT_EQ(guest_hears(), Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockHostileTest, ResetsAGuestThatExceedsItsCredit) {
  start();
  const Fd client = open_from_host();
  const Bytes block = pattern(65536);
  for (int i = 0; i < 40 && connections() == 1; ++i) guest_writes(block);
  EXPECT_EQ(connections(), 0U);
  std::optional<Op> last;
  while (const auto op = guest_hears()) last = op;
  EXPECT_EQ(last, Op::kRst);
}

TEST_F(VsockHostileTest, AGuestThatDoesNotConfirmTheEndIsReset) {
  create(40);
  start();
  Fd client = open_from_host();
  client.reset();
  run();
  EXPECT_EQ(guest_hears(), Op::kShutdown);
  run_for(120);
  EXPECT_EQ(guest_hears(), Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockHostileTest, PacketsOfNoConnectionAreReset) {
  start();
  host_port_ = 7;
  for (const Op op : {Op::kInvalid, Op::kResponse, Op::kShutdown, Op::kRw, Op::kCreditUpdate,
                      Op::kCreditRequest, Op{99}}) {
    guest_sends(op);
    EXPECT_EQ(guest_hears(), Op::kRst) << static_cast<int>(op);
  }
  guest_sends(Op::kRst);
  EXPECT_FALSE(guest_receives()) << "a reset is not answered";
}

TEST_F(VsockHostileTest, NonsenseOnAConnectionResetsIt) {
  start();
  for (const Op op : {Op::kInvalid, Op::kRequest, Op::kResponse, Op{99}}) {
    const Fd client = open_from_host();
    guest_sends(op);
    EXPECT_EQ(guest_hears(), Op::kRst) << static_cast<int>(op);
    EXPECT_EQ(hears(client), "");
    EXPECT_EQ(connections(), 0U);
  }
  for (const Op op : {Op::kRw, Op::kShutdown, Op::kCreditRequest}) {
    const Fd client = client_connects();
    says(client, "CONNECT 1024\n");
    run();
    host_port_ = guest_receives()->header.src_port;
    guest_sends(op);  // before the response
    EXPECT_EQ(guest_hears(), Op::kRst) << static_cast<int>(op);
  }
}

TEST_F(VsockHostileTest, DropsPacketsThatMakeNoSense) {
  start();
  Header other = header(Op::kRw);
  other.src_cid = kCid + 1;
  ASSERT_TRUE(guest_sends(other));
  other = header(Op::kRw);
  other.dst_cid = 1;
  ASSERT_TRUE(guest_sends(other));
  driver_.add(VirtioVsock::kTransmitQueue, {driver_.put(Bytes(43))}, {});
  driver_.add(VirtioVsock::kTransmitQueue, {}, {driver_.allocate(100)});
  ASSERT_TRUE(driver_.ring(VirtioVsock::kTransmitQueue));
  while (driver_.take_used(VirtioVsock::kTransmitQueue)) ++transmitted_;
  EXPECT_EQ(transmitted_, 4U) << "but gives them back";
  EXPECT_EQ(device_->dropped(), 4U);
  EXPECT_FALSE(guest_receives());
}

TEST_F(VsockHostileTest, WrongTypeAndLengthAreReset) {
  start();
  Header packet = header(Op::kRequest);
  packet.type = 2;
  ASSERT_TRUE(guest_sends(packet));
  EXPECT_EQ(guest_hears(), Op::kRst);
  {
    const Fd client = open_from_host();
    packet = header(Op::kRw);
    packet.len = 101;
    ASSERT_TRUE(guest_sends(packet, pattern(100)));
    EXPECT_EQ(guest_hears(), Op::kRst);
    EXPECT_EQ(hears(client), "");
  }
  const Fd client = open_from_host();
  packet = header(Op::kRw);
  packet.len = 50;  // what comes after that is not data
  ASSERT_TRUE(guest_sends(packet, pattern(100)));
  EXPECT_EQ(hears(client)->size(), 50U);
}

TEST_F(VsockHostileTest, AGuestThatReadsNoAnswersIsNotListenedTo) {
  start(0);
  host_port_ = 7;
  unsigned taken = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!driver_.add(VirtioVsock::kTransmitQueue, {driver_.put_value(header(Op::kRw))}, {})) break;
    ASSERT_TRUE(driver_.ring(VirtioVsock::kTransmitQueue));
    run();
    while (driver_.take_used(VirtioVsock::kTransmitQueue)) ++taken;
  }
  EXPECT_EQ(taken, 256U);
  unsigned resets = 0;
  for (int i = 0; i < 100; ++i) {
    offer(16);
    ASSERT_TRUE(driver_.ring(VirtioVsock::kReceiveQueue));
    run();
    while (guest_hears() == Op::kRst) ++resets;
  }
  while (driver_.take_used(VirtioVsock::kTransmitQueue)) ++taken;
  EXPECT_EQ(taken, 272U) << "goes on by itself";
  EXPECT_EQ(resets, 272U);
}

TEST_F(VsockHostileTest, ConnectionsTakeTurns) {
  start(3);
  std::vector<Fd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(open_from_host());
  for (const Fd& client : clients) says(client, std::string(40000, 'x'));
  run();
  std::map<std::uint32_t, int> packets;
  offer(9);
  ASSERT_TRUE(driver_.ring(VirtioVsock::kReceiveQueue));
  for (int i = 0; i < 9; ++i) ++packets[guest_receives()->header.src_port];
  EXPECT_EQ(packets.size(), 3U);
  for (const auto& [port, count] : packets) EXPECT_EQ(count, 3) << port;
}

TEST_F(VsockHostileTest, WaitingForTheGuestDoesNotSpin) {
  start();
  const Fd client = open_from_host();
  for (int i = 0; i < 3; ++i) says(client, std::string(60000, 'x'));
  const Fd silent = client_connects();
  run();
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(loop_->run_once(30));
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(25));
}

TEST_F(VsockHostileTest, BoundsTheNumberOfConnections) {
  constexpr rlim_t kDescriptors = 3 * VsockTable::kMaxConnections;  // two for each, and ours
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < kDescriptors) GTEST_SKIP() << "the limit of descriptors is low";
  limit.rlim_cur = std::max(limit.rlim_cur, kDescriptors);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  start();
  const Fd server = server_listens();
  std::vector<Fd> sockets;
  for (std::uint32_t port = 0; port < VsockTable::kMaxConnections + 2; ++port) {
    Header packet = header(Op::kRequest);
    packet.src_port = port;
    packet.dst_port = kHostPort;
    ASSERT_TRUE(guest_sends(packet));
    const auto answer = guest_receives();
    ASSERT_TRUE(answer);
    const bool fits = answer->header.op == Op::kResponse;
    EXPECT_EQ(answer->header.buf_alloc, !fits ? 0U : port < 32 ? kWindow : 16384U);
    offer(1);
    sockets.emplace_back(::accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK));
  }
  EXPECT_LE(connections(), VsockTable::kMaxConnections);
  const Fd waiting = client_connects();
  run();
  driver_.reset();
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockHostileTest, MemoryThatIsNotThereIsAnErrorOfTheDriver) {
  start(0);
  const DmaSegment nowhere{DmaAddr(TestDriver::kMemorySize - 4), 5000};
  driver_.add(VirtioVsock::kTransmitQueue, {nowhere}, {});
  EXPECT_FALSE(driver_.ring(VirtioVsock::kTransmitQueue));
  driver_.reset();

  start();
  Fd client = open_from_host();
  Header packet = header(Op::kRw);
  packet.len = 5000;
  driver_.add(VirtioVsock::kTransmitQueue, {driver_.put_value(packet), nowhere}, {});
  EXPECT_FALSE(driver_.ring(VirtioVsock::kTransmitQueue));
  says(client, "ignored from now on");
  run();
  driver_.reset();

  start(0);
  driver_.add(VirtioVsock::kReceiveQueue, {}, {nowhere});
  client = client_connects();
  says(client, "CONNECT 1024\n");
  run();
  EXPECT_EQ(driver_.interrupts().resets_wanted, 1);
  driver_.reset();

  start(0);
  driver_.add(VirtioVsock::kReceiveQueue, {}, {driver_.allocate(43)});
  client = client_connects();
  says(client, "CONNECT 1024\n");
  run();
  EXPECT_EQ(driver_.interrupts().resets_wanted, 2);
}

TEST_F(VsockHostileTest, RefusesAHostileState) {
  for (const Bytes& bytes : {Bytes{}, Bytes(3), Bytes(4), Bytes(4, std::byte{0xff})}) {
    StateReader reader(bytes);
    EXPECT_FALSE(device_->restore(reader));
  }
}

// As when a vCPU resets the device while the event loop is at work.
TEST_F(VsockHostileTest, ResetComesFromAnotherThread) {
  std::thread looper([&] { EXPECT_TRUE(loop_->run()); });
  for (unsigned round = 0; round < 50; ++round) {
    ASSERT_TRUE(driver_.start(*device_));
    buffers_.clear();
    offer(8);
    Fd client = client_connects();
    says(client, "CONNECT 1024\n");
    std::this_thread::sleep_for(std::chrono::microseconds(round * 10));
    if (round % 2 != 0) client.reset();
    driver_.reset();
  }
  loop_->stop();
  looper.join();
  EXPECT_EQ(connections(), 0U);
}

}  // namespace
}  // namespace bulkhead
