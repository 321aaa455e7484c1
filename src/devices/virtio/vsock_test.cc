// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock.h"

#include <gtest/gtest.h>

#include "devices/virtio/vsock_for_test.h"

namespace bulkhead {
namespace {

TEST_F(VsockTest, TellsTheGuestItsCid) {
  std::uint64_t cid = 0;
  device_->read_config(0, std::as_writable_bytes(std::span(&cid, 1)));
  EXPECT_EQ(cid, kCid);
  device_->write_config(0, std::as_bytes(std::span(&cid, 1)));
  const auto create_with = [&](std::uint64_t guest_cid) {
    return VirtioVsock::create({.guest_cid = guest_cid, .path = folder_ + "/x"}, driver_.space(),
                               *loop_)
        .has_value();
  };
  EXPECT_TRUE(create_with(3));
  EXPECT_FALSE(create_with(2));
  EXPECT_FALSE(create_with(0xffffffff));
}

TEST_F(VsockTest, ConnectsAClientOfTheHostToTheGuest) {
  start();
  const Fd client = client_connects();
  says(client, "CONNECT 1024\nhello");
  run();
  const auto request = guest_receives();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->header.op, Op::kRequest);
  EXPECT_EQ(request->header.type, virtio_vsock::kTypeStream);
  EXPECT_EQ(request->header.dst_port, 1024U);
  EXPECT_EQ(request->header.buf_alloc, kWindow);
  EXPECT_FALSE(hears(client));
  host_port_ = request->header.src_port;
  guest_sends(Op::kResponse);
  EXPECT_EQ(hears(client), "OK " + std::to_string(host_port_) + "\n");
  const auto data = guest_receives();
  ASSERT_TRUE(data);
  EXPECT_EQ(data->header.op, Op::kRw);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(data->data.data()), 5), "hello");
  guest_writes(pattern(300));
  EXPECT_EQ(hears(client)->size(), 300U);
}

TEST_F(VsockTest, TakesTheGreetingInAnyPieces) {
  start();
  const Fd client = client_connects();
  for (const char c : std::string_view("connect  1024 \r\n")) {
    says(client, std::string_view(&c, 1));
    run();
  }
  EXPECT_EQ(guest_hears(), Op::kRequest);
}

TEST_F(VsockTest, TheGuestMayRefuse) {
  start();
  const Fd client = client_connects();
  says(client, "CONNECT 1024\n");
  run();
  host_port_ = guest_receives()->header.src_port;
  guest_sends(Op::kRst);
  EXPECT_EQ(hears(client), "");
  EXPECT_FALSE(guest_receives());
}

TEST_F(VsockTest, AClientWaitsForADriver) {
  const Fd client = client_connects();
  says(client, "CONNECT 1024\n");
  run();
  EXPECT_EQ(connections(), 0U);
  start(0);
  EXPECT_EQ(connections(), 1U);
  offer(4);
  ASSERT_TRUE(driver_.ring(VirtioVsock::kReceiveQueue));
  EXPECT_EQ(guest_hears(), Op::kRequest);
}

TEST_F(VsockTest, ConnectsTheGuestToAServerOfTheHost) {
  start();
  const Fd server = server_listens();
  const Fd socket = open_from_guest(server);
  ASSERT_TRUE(socket.valid());
  guest_writes(pattern(1000));
  EXPECT_EQ(hears(socket)->size(), 1000U);
  says(socket, "answer");
  run();
  const auto packet = guest_receives();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.op, Op::kRw);
  EXPECT_EQ(packet->header.fwd_cnt, 1000U);
  EXPECT_EQ(packet->data.size(), 6U);
}

TEST_F(VsockTest, RefusesTheGuestWhereNobodyListens) {
  start();
  host_port_ = kHostPort;
  guest_sends(Op::kRequest);
  const auto packet = guest_receives();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.op, Op::kRst);
  EXPECT_EQ(packet->header.src_port, kHostPort);
  EXPECT_EQ(packet->header.dst_port, kGuestPort);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockTest, DataOfAllSizesArrivesInOrder) {
  start();
  const Fd client = open_from_host();
  std::string sent;
  for (const std::size_t size : {1U, 4051U, 4052U, 4053U, 60000U, 100000U}) {
    const Bytes data = pattern(size, static_cast<unsigned>(size));
    sent.append(reinterpret_cast<const char*>(data.data()), size);
  }
  says(client, sent);
  std::string received;
  for (int i = 0; i < 200 && received.size() < sent.size(); ++i) {
    run();
    while (const auto packet = guest_receives()) {
      EXPECT_EQ(packet->header.op, Op::kRw);
      received.append(reinterpret_cast<const char*>(packet->data.data()), packet->data.size());
      offer(1);
    }
    ASSERT_TRUE(driver_.ring(VirtioVsock::kReceiveQueue));
  }
  EXPECT_TRUE(received == sent);
}

TEST_F(VsockTest, RespectsTheGuestsCredit) {
  start();
  guest_window_ = 1000;
  const Fd client = open_from_host();
  says(client, std::string(2500, 'x'));
  run();
  EXPECT_EQ(guest_receives()->data.size(), 1000U);
  EXPECT_EQ(guest_hears(), Op::kCreditRequest);
  run();
  EXPECT_FALSE(guest_receives()) << "asks once";
  guest_forwarded_ = 300;
  guest_sends(Op::kCreditUpdate);
  EXPECT_EQ(guest_receives()->data.size(), 300U);
  EXPECT_EQ(guest_hears(), Op::kCreditRequest);
  guest_forwarded_ = 5000;  // more than was ever sent
  guest_sends(Op::kCreditUpdate);
  EXPECT_FALSE(guest_receives());
  guest_forwarded_ = 1300;
  guest_window_ = 0xffffffff;
  guest_sends(Op::kCreditUpdate);
  EXPECT_EQ(guest_receives()->data.size(), 1200U);
}

TEST_F(VsockTest, BuffersWhatTheSocketDoesNotTakeAndNoMore) {
  start();
  const Fd client = open_from_host();
  // Until the socket is full, and then the window: all without credit from us.
  const Bytes block = pattern(32768);
  std::size_t total = 0;
  std::uint32_t forwarded = 0;
  while (total - forwarded + block.size() <= kWindow) {
    guest_writes(block);
    total += block.size();
    while (const auto packet = guest_receives()) {
      EXPECT_EQ(packet->header.op, Op::kCreditUpdate);
      forwarded = packet->header.fwd_cnt;
      offer(1);
    }
    guest_sends(Op::kCreditRequest);
    const auto answer = guest_receives();
    ASSERT_TRUE(answer && answer->header.op == Op::kCreditUpdate);
    forwarded = answer->header.fwd_cnt;
    offer(1);
    ASSERT_LT(total, 4U << 20);
  }
  std::string received;
  while (const auto text = hears(client)) {
    received += *text;
    run();
  }
  ASSERT_EQ(received.size(), total);
  for (std::size_t i = 0; i < total; ++i) {
    ASSERT_EQ(static_cast<std::byte>(received[i]), block[i % block.size()]) << i;
  }
  guest_sends(Op::kCreditRequest);
  while (const auto packet = guest_receives()) forwarded = packet->header.fwd_cnt;
  EXPECT_EQ(forwarded, total);
}

TEST_F(VsockTest, TellsOfRoomBeforeTheGuestRunsOut) {
  start();
  const Fd client = open_from_host();
  std::uint32_t told = 0;
  std::uint32_t sent = 0;
  for (int i = 0; i < 64; ++i) {
    guest_writes(pattern(65536));
    sent += 65536;
    EXPECT_EQ(hears(client)->size(), 65536U);
    while (const auto packet = guest_receives()) {
      told = packet->header.fwd_cnt;
      offer(1);
    }
    ASSERT_LT(sent - told, kWindow);
  }
}

TEST_F(VsockTest, TheHostEndsAConnection) {
  start();
  Fd client = open_from_host();
  says(client, "last words");
  client.reset();
  run();
  EXPECT_EQ(guest_receives()->data.size(), 10U);
  const auto packet = guest_receives();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.op, Op::kShutdown);
  EXPECT_EQ(packet->header.flags, virtio_vsock::kShutdownBoth);
  EXPECT_EQ(connections(), 1U);
  guest_sends(Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockTest, EitherSideMayEndOneDirection) {
  start();
  const Fd client = open_from_host();
  ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
  run();
  const auto packet = guest_receives();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.op, Op::kShutdown);
  EXPECT_EQ(packet->header.flags, virtio_vsock::kShutdownSend);
  guest_writes(pattern(100));
  EXPECT_EQ(hears(client)->size(), 100U);
  guest_shuts_down(virtio_vsock::kShutdownSend);
  EXPECT_EQ(hears(client), "");
  guest_shuts_down(virtio_vsock::kShutdownBoth);
  std::optional<Op> last;
  while (const auto op = guest_hears()) last = op;
  EXPECT_EQ(last, Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockTest, TheGuestEndsAConnectionAndItsBytesArrive) {
  start();
  const Fd client = open_from_host();
  int small = 4096;
  ::setsockopt(client.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  std::size_t sent = 0;
  for (int i = 0; i < 4; ++i, sent += 60000) guest_writes(pattern(60000));
  guest_shuts_down(virtio_vsock::kShutdownBoth);
  std::size_t received = 0;
  while (const auto text = hears(client, 8192)) {
    if (text->empty()) break;
    received += text->size();
    run();
  }
  EXPECT_EQ(received, sent);
  std::optional<Op> last;
  while (const auto op = guest_hears()) last = op;
  EXPECT_EQ(last, Op::kRst);
  EXPECT_EQ(connections(), 0U);
}

TEST_F(VsockTest, AGuestThatReceivesNoMoreIsNotSentTo) {
  start();
  const Fd client = open_from_host();
  guest_shuts_down(virtio_vsock::kShutdownReceive);
  EXPECT_LT(::send(client.get(), "x", 1, MSG_NOSIGNAL), 0) << "the client is told";
  run();
  EXPECT_FALSE(guest_receives());
  guest_writes(pattern(10));
  EXPECT_EQ(hears(client)->size(), 10U);
  guest_shuts_down(virtio_vsock::kShutdownSend);
  EXPECT_EQ(guest_hears(), Op::kRst);
}

TEST_F(VsockTest, ResetOfTheDriverClosesAll) {
  start();
  const Fd client = open_from_host();
  const Fd greeting = client_connects();
  run();
  EXPECT_EQ(connections(), 2U);
  driver_.reset();
  EXPECT_EQ(connections(), 0U);
  EXPECT_EQ(hears(client), "");
  EXPECT_EQ(hears(greeting), "");
  ASSERT_TRUE(driver_.ring(VirtioVsock::kReceiveQueue));
  run();
  start();
  EXPECT_FALSE(guest_receives());
  const Fd again = open_from_host();
}

TEST_F(VsockTest, TheRestoredDriverIsToldToStartOver) {
  start();
  const Fd client = open_from_host();
  StateWriter writer;
  device_->save(writer);
  create();
  StateReader reader(writer.bytes());
  ASSERT_TRUE(device_->restore(reader));
  EXPECT_TRUE(reader.empty());
  start();
  const DmaSegment event = driver_.put_value(~std::uint32_t{0});
  driver_.add(VirtioVsock::kEventQueue, {}, {event});
  ASSERT_TRUE(driver_.ring(VirtioVsock::kEventQueue));
  EXPECT_EQ(driver_.take_used(VirtioVsock::kEventQueue)->length, 4U);
  EXPECT_EQ(driver_.get_value<std::uint32_t>(event), virtio_vsock::kEventTransportReset);
  EXPECT_EQ(driver_.interrupts().used[VirtioVsock::kEventQueue], 1);
  driver_.add(VirtioVsock::kEventQueue, {}, {event});
  ASSERT_TRUE(driver_.ring(VirtioVsock::kEventQueue));
  EXPECT_FALSE(driver_.take_used(VirtioVsock::kEventQueue)) << "once";
}

}  // namespace
}  // namespace bulkhead
