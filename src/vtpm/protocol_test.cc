// SPDX-License-Identifier: Apache-2.0
#include "vtpm/protocol.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/byte_reader.h"
#include "base/fd.h"
#include "vtpm/commands_for_test.h"

namespace bulkhead::vtpm {
namespace {

struct Sockets {
  Sockets() {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    one = Fd(ends[0]);
    other = Fd(ends[1]);
  }
  Fd one;
  Fd other;
};

Bytes datagram(std::uint32_t type, std::uint32_t length, std::size_t payload) {
  Bytes bytes(kHeaderBytes + payload);
  put_le(bytes, 0, type);
  put_le(bytes, 4, std::uint32_t{7});
  put_le(bytes, 8, std::uint32_t{3});
  put_le(bytes, 12, length);
  return bytes;
}

TEST(VtpmProtocol, AMessageComesAsItWasSent) {
  const Sockets sockets;
  const Bytes payload = bytes_of({1, 2, 3});
  ASSERT_TRUE(
      send_message(sockets.one.get(),
                   {.type = MessageType::kCommand, .sequence = 9, .value = 4, .payload = payload}));
  DatagramBuffer buffer;
  const auto message = receive_message(sockets.other.get(), buffer);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->type, MessageType::kCommand);
  EXPECT_EQ(message->sequence, 9U);
  EXPECT_EQ(message->value, 4U);
  EXPECT_EQ(Bytes(message->payload.begin(), message->payload.end()), payload);
}

TEST(VtpmProtocol, TheLongestPayloadFits) {
  const Sockets sockets;
  const Bytes payload(kMaxPayloadBytes, std::byte{5});
  ASSERT_TRUE(send_message(sockets.one.get(), {.payload = payload}));
  DatagramBuffer buffer;
  EXPECT_EQ(receive_message(sockets.other.get(), buffer)->payload.size(), kMaxPayloadBytes);
}

TEST(VtpmProtocol, NothingButAWholeMessageIsRead) {
  EXPECT_TRUE(parse_message(datagram(2, 5, 5)));  // the control
  const Bytes whole = datagram(2, 5, 5);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(parse_message(std::span(whole).first(length))) << length;
  }
  EXPECT_EQ(parse_message(datagram(2, 5, 6)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_message(datagram(0, 0, 0)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_message(datagram(9, 0, 0)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_message(datagram(2, 0xffffffff, 5)).error().code, Errc::kMalformed);
  EXPECT_EQ(parse_message(datagram(2, kMaxPayloadBytes + 1, kMaxPayloadBytes + 1)).error().code,
            Errc::kMalformed);
}

TEST(VtpmProtocol, ADatagramThatIsTooLongIsRefused) {
  const Sockets sockets;
  const Bytes bytes = datagram(2, kMaxPayloadBytes + 1, kMaxPayloadBytes + 1);
  ASSERT_GT(::send(sockets.one.get(), bytes.data(), bytes.size(), 0), 0);
  DatagramBuffer buffer;
  EXPECT_EQ(receive_message(sockets.other.get(), buffer).error().code, Errc::kMalformed);
}

TEST(VtpmProtocol, TheOtherSidesEndIsSeen) {
  Sockets sockets;
  sockets.one.reset();
  DatagramBuffer buffer;
  EXPECT_EQ(receive_message(sockets.other.get(), buffer).error().code, Errc::kClosed);
  EXPECT_EQ(send_message(sockets.other.get(), {}).error().code, Errc::kClosed);
}

}  // namespace
}  // namespace bulkhead::vtpm
