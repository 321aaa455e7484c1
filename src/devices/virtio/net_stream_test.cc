// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net_stream.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "devices/virtio/net_for_test.h"

namespace bulkhead {
namespace {

using NetStreamTest = NetTest;

TEST_F(NetStreamTest, CarriesLengthAndFrame) {
  create_stream();
  start();
  driver_sends(pattern(0x123));
  ASSERT_TRUE(driver_.ring(kTransmit));
  Bytes expected = {std::byte{0}, std::byte{0}, std::byte{1}, std::byte{0x23}};
  const Bytes frame = pattern(0x123);
  expected.insert(expected.end(), frame.begin(), frame.end());
  EXPECT_EQ(peer_receives(), expected);
  driver_sends(pattern(13));
  driver_sends(pattern(60), {.flags = virtio_net::kNeedsCsum});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_FALSE(peer_receives());
}

TEST_F(NetStreamTest, TakesFramesInAnyPieces) {
  create_stream();
  start();
  for (int i = 0; i < 8; ++i) offer(2048);
  ASSERT_TRUE(driver_.ring(kReceive));
  Bytes stream;
  for (const unsigned size : {20U, 255U, 13U, 0U, 14U}) {  // 13 and 0 are no Ethernet frames
    stream.insert(stream.end(), 3, std::byte{0});
    stream.push_back(static_cast<std::byte>(size));
    const Bytes frame = pattern(size);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (const std::byte byte : stream) {
    peer_sends({byte});
    ASSERT_TRUE(loop_->run_once(0));
  }
  run();
  EXPECT_EQ(driver_receives_payload(), pattern(20));
  EXPECT_EQ(driver_receives_payload(), pattern(255));
  EXPECT_EQ(driver_receives_payload(), pattern(14));
  EXPECT_FALSE(driver_receives());
}

TEST_F(NetStreamTest, OutOfStepIsALinkDown) {
  create_stream();
  start();
  offer(2048);
  ASSERT_TRUE(driver_.ring(kReceive));
  peer_sends({std::byte{0}, std::byte{1}, std::byte{0}, std::byte{0x12}});
  run();
  EXPECT_FALSE(device_->link_up());
}

TEST_F(NetStreamTest, SurvivesPartialWritesAndResets) {
  create_stream();
  start(256);
  int small = 4096;
  ASSERT_EQ(::setsockopt(peer_.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  for (unsigned i = 0; i < 100; ++i) driver_sends(pattern(60000 + i, i));
  ASSERT_TRUE(driver_.ring(kTransmit));
  unsigned done = 0;
  while (driver_.take_used(kTransmit)) ++done;
  ASSERT_GT(done, 0U);
  ASSERT_LT(done, 100U);
  // The first frames of the next driver come after the last of this one, whole.
  driver_.reset();
  start();
  driver_sends(pattern(1000, 200));
  ASSERT_TRUE(driver_.ring(kTransmit));
  Bytes stream;
  for (int i = 0; i < 2000; ++i) {
    if (const auto bytes = peer_receives())
      stream.insert(stream.end(), bytes->begin(), bytes->end());
    ASSERT_TRUE(loop_->run_once(0));
  }
  std::size_t position = 0;
  for (unsigned i = 0; i <= done; ++i) {
    const Bytes frame = i < done ? pattern(60000 + i, i) : pattern(1000, 200);
    position += 4;
    ASSERT_LE(position + frame.size(), stream.size());
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(),
                           stream.begin() + static_cast<std::ptrdiff_t>(position)));
    position += frame.size();
  }
  EXPECT_EQ(position, stream.size());
}

}  // namespace
}  // namespace bulkhead
