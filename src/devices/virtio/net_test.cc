// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <thread>

#include "devices/virtio/net_for_test.h"

namespace bulkhead {
namespace {

TEST_F(NetTest, TellsAddressMtuAndLink) {
  create(NetOptions::Backend::kTap, SOCK_SEQPACKET, 9000);
  EXPECT_TRUE(std::ranges::equal(config().mac, kMac));
  EXPECT_EQ(config().mtu, 9000);
  EXPECT_EQ(config().status, virtio_net::kLinkUp);
  std::array<std::byte, 4> beyond;
  beyond.fill(std::byte{0xff});
  device_->read_config(10, beyond);
  EXPECT_EQ(beyond[1], std::byte{9000 >> 8});
  EXPECT_EQ(beyond[2], std::byte{0});
  device_->read_config(~std::uint64_t{0}, beyond);
  EXPECT_EQ(beyond[0], std::byte{0});
  device_->write_config(0, beyond);
  EXPECT_TRUE(std::ranges::equal(config().mac, kMac));
}

TEST_F(NetTest, RefusesWhatCannotWork) {
  const auto attempt = [&](NetOptions::Backend backend, int type, std::uint8_t first_byte,
                           std::uint16_t mtu) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, type, 0, ends), 0);
    const Fd other(ends[1]);
    NetOptions options;
    options.backend = backend;
    options.fd = Fd(ends[0]);
    options.mac = {first_byte};
    options.mtu = mtu;
    return VirtioNet::create(std::move(options), driver_.space(), *loop_).has_value();
  };
  using enum NetOptions::Backend;
  EXPECT_TRUE(attempt(kTap, SOCK_DGRAM, 2, 1500));
  EXPECT_FALSE(attempt(kTap, SOCK_STREAM, 2, 1500));
  EXPECT_FALSE(attempt(kStream, SOCK_DGRAM, 2, 1500));
  EXPECT_FALSE(attempt(kTap, SOCK_DGRAM, 1, 1500)) << "multicast";
  EXPECT_FALSE(attempt(kTap, SOCK_DGRAM, 0, 1500)) << "zero";
  EXPECT_FALSE(attempt(kTap, SOCK_DGRAM, 2, 67));
  EXPECT_FALSE(attempt(kTap, SOCK_DGRAM, 2, 65522));
  NetOptions file;
  file.fd = Fd::open("/dev/null", O_RDWR).value();
  file.mac = kMac;
  EXPECT_FALSE(VirtioNet::create(std::move(file), driver_.space(), *loop_));
}

TEST_F(NetTest, TransmitsFramesWithTheirHeader) {
  create_tap();
  start();
  const Header header{.flags = virtio_net::kNeedsCsum,
                      .gso_type = virtio_net::kGsoTcp4,
                      .hdr_len = 54,
                      .gso_size = 1448,
                      .csum_start = 34,
                      .csum_offset = 16,
                      .num_buffers = 77};
  driver_sends(pattern(3000), header);
  driver_sends(pattern(60));
  ASSERT_TRUE(driver_.ring(kTransmit));
  Header cleaned = header;
  cleaned.num_buffers = 0;
  EXPECT_EQ(peer_receives(), with_header(pattern(3000), cleaned));
  EXPECT_EQ(peer_receives(), with_header(pattern(60)));
  EXPECT_EQ(driver_.take_used(kTransmit)->length, 0U);
  EXPECT_TRUE(driver_.take_used(kTransmit));
  EXPECT_EQ(driver_.interrupts().used[kTransmit], 1) << "one interrupt for the batch";
}

TEST_F(NetTest, TransmitsAHeaderInPieces) {
  create_tap();
  start();
  const Bytes all = with_header(pattern(100));
  const DmaSegment whole = driver_.put(all);
  const DmaSegment first{whole.address, 5};
  const DmaSegment rest{whole.address + 5, whole.length - 5};
  driver_.add_indirect(kTransmit, {first, rest}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(peer_receives(), all);
}

TEST_F(NetTest, DropsFramesWithWhatWasNotNegotiated) {
  create_tap();
  start_without(virtio_net::kCsum | virtio_net::kHostTso4 | virtio_net::kHostTso6 |
                virtio_net::kHostEcn);
  const auto sends = [&](std::uint8_t flags, std::uint8_t gso) {
    driver_sends(pattern(60), {.flags = flags, .gso_type = gso});
    EXPECT_TRUE(driver_.ring(kTransmit));
    EXPECT_TRUE(driver_.take_used(kTransmit)) << "given back in any case";
    return peer_receives().has_value();
  };
  EXPECT_TRUE(sends(0, virtio_net::kGsoNone));
  EXPECT_TRUE(sends(0xfe, virtio_net::kGsoNone)) << "reserved flags are ignored";
  EXPECT_FALSE(sends(virtio_net::kNeedsCsum, virtio_net::kGsoNone));
  EXPECT_FALSE(sends(0, virtio_net::kGsoTcp4));
  EXPECT_FALSE(sends(0, virtio_net::kGsoTcp6));
  EXPECT_FALSE(sends(0, virtio_net::kGsoEcn));
  EXPECT_FALSE(sends(0, 3));  // UFO, never offered
  EXPECT_FALSE(sends(0, 0x7f));
  EXPECT_EQ(device_->dropped(), 6U);
}

TEST_F(NetTest, DropsFramesThatAreTooShortOrTooLong) {
  create_tap();
  start();
  driver_.add(kTransmit, {driver_.put(Bytes(11))}, {});
  driver_.add(kTransmit, {driver_.allocate(0)}, {});
  driver_.add(kTransmit, {}, {driver_.allocate(100)});
  driver_.add(kTransmit, {driver_.allocate(12), driver_.allocate(virtio_net::kMaxFrame + 1)}, {});
  driver_.add(kTransmit, {driver_.allocate(12), {DmaAddr(4 * kMiB), 0x80000000}}, {});
  ASSERT_TRUE(driver_.ring(kTransmit));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(driver_.take_used(kTransmit));
  EXPECT_EQ(device_->dropped(), 5U);
  EXPECT_FALSE(peer_receives());
}

TEST_F(NetTest, KeepsFramesWhileTheBackendIsFull) {
  create_tap();
  start(256);
  for (int i = 0; i < 120; ++i) driver_sends(pattern(9000, static_cast<unsigned>(i)));
  ASSERT_TRUE(driver_.ring(kTransmit));
  unsigned done = 0;
  while (driver_.take_used(kTransmit)) ++done;
  ASSERT_LT(done, 120U) << "the socket should have been full";
  EXPECT_GE(idle_time().count(), 25) << "waiting must not spin";
  for (unsigned i = 0; i < 120; ++i) {
    run();
    EXPECT_EQ(peer_receives(), with_header(pattern(9000, i)));
  }
  run();
  while (driver_.take_used(kTransmit)) ++done;
  EXPECT_EQ(done, 120U);
  EXPECT_TRUE(driver_.doorbell_wanted(kTransmit));
}

TEST_F(NetTest, ReceivesAFrame) {
  create_tap();
  start();
  offer(2048);
  peer_sends(with_header(pattern(1000), {.flags = virtio_net::kNeedsCsum, .csum_start = 34}));
  run();
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives(),
            with_header(pattern(1000),
                        {.flags = virtio_net::kNeedsCsum, .csum_start = 34, .num_buffers = 1}));
  EXPECT_EQ(driver_.interrupts().used[kReceive], 1);
}

TEST_F(NetTest, ReceivesBurstsOfAllSizes) {
  create_tap();
  start(256);
  const std::size_t sizes[] = {60, 1514, 65000, 65553, 100, 4000, 30000, 30001, 14, 65553, 65553};
  unsigned seed = 0;
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t size : sizes) {
      for (int i = 0; i < 50 && driver_.queue(kReceive).pending().value() < 200; ++i) offer(1536);
      ASSERT_TRUE(driver_.ring(kReceive));
      peer_sends(with_header(pattern(size, ++seed)));
      run();
      EXPECT_EQ(driver_receives_payload(), pattern(size, seed)) << size;
    }
  }
}

TEST_F(NetTest, SpreadsAFrameOverBuffersAndFillsEachButTheLast) {
  create_tap();
  start();
  for (const std::uint32_t size : {12U, 100U, 1U << 12, 4096U}) offer(size);
  peer_sends(with_header(pattern(200)));
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_.take_used(kReceive)->length, 12U);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 100U);
  EXPECT_EQ(driver_.take_used(kReceive)->length, 100U);
  EXPECT_FALSE(driver_.take_used(kReceive));
  EXPECT_EQ(driver_.queue(kReceive).pending().value(), 1) << "unused ones stay in the queue";
}

TEST_F(NetTest, WaitsForBuffersInsteadOfTruncating) {
  create_tap();
  start();
  offer(1000);
  offer(1000);
  ASSERT_TRUE(driver_.ring(kReceive));
  peer_sends(with_header(pattern(5000)));
  peer_sends(with_header(pattern(50)));
  run();
  EXPECT_FALSE(driver_.take_used(kReceive));
  EXPECT_TRUE(driver_.doorbell_wanted(kReceive));
  EXPECT_GE(idle_time().count(), 25) << "waiting must not spin";
  offer(1000);
  ASSERT_TRUE(driver_.ring(kReceive));
  EXPECT_FALSE(driver_.take_used(kReceive)) << "still too few";
  for (int i = 0; i < 3; ++i) offer(1012);
  offer(62);
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives_payload(), pattern(5000));
  EXPECT_EQ(driver_receives_payload(), pattern(50));
}

TEST_F(NetTest, DropsAFrameThatTheWholeQueueCannotHold) {
  create_tap();
  start(4);
  for (int i = 0; i < 4; ++i) offer(1000);
  peer_sends(with_header(pattern(5000)));
  peer_sends(with_header(pattern(50)));
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives_payload(), pattern(50));
}

TEST_F(NetTest, WithoutMergingAFrameTakesOneBuffer) {
  create_tap();
  start_without(virtio_net::kMrgRxbuf | virtio_net::kGuestTso4 | virtio_net::kGuestTso6 |
                virtio_net::kGuestCsum);
  run();
  offer(600);
  offer(1526);
  peer_sends(with_header(pattern(700)));  // does not fit the first buffer
  peer_sends(with_header(pattern(500), {.flags = 2, .num_buffers = 9}));
  peer_sends(with_header(pattern(1514)));
  peer_sends(with_header(pattern(2000)));  // more than the MTU
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives(), with_header(pattern(500), {.num_buffers = 1}))
      << "no flags without GUEST_CSUM";
  EXPECT_EQ(driver_receives_payload(), pattern(1514));
  offer(60000);
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_FALSE(driver_.take_used(kReceive));
}

TEST_F(NetTest, IgnoresFramesShorterThanTheirHeader) {
  create_tap();
  start();
  offer(2000);
  peer_sends(Bytes(11));
  peer_sends(with_header(pattern(60)));
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives_payload(), pattern(60));
}

TEST_F(NetTest, InterruptsOncePerBatchWithEventIndices) {
  create_tap();
  ASSERT_TRUE(driver_.start(*device_, {.queue_size = 256, .features = virtio::kFeatureEventIndex}));
  run();
  for (int i = 0; i < 100; ++i) offer(1536);
  for (int i = 0; i < 30; ++i) peer_sends(with_header(pattern(60)));
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(driver_receives());
  EXPECT_EQ(driver_.interrupts().used[kReceive], 1);
  driver_.set_used_event(kReceive, 200);
  peer_sends(with_header(pattern(60)));
  run();
  EXPECT_TRUE(driver_receives());
  EXPECT_EQ(driver_.interrupts().used[kReceive], 1) << "the driver did not want to know";
}

// A batch is bounded; what is left is taken up without anyone ringing.
TEST_F(NetTest, GoesOnAfterABatch) {
  create_stream();
  start(256);
  for (int i = 0; i < 250; ++i) offer(2048);
  run();
  Bytes burst;
  for (int i = 0; i < 200; ++i) {
    Bytes frame = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{20}};
    frame.resize(24, static_cast<std::byte>(i));
    burst.insert(burst.end(), frame.begin(), frame.end());
  }
  peer_sends(burst);
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(driver_receives_payload(), Bytes(20, static_cast<std::byte>(i)));
  }
}

TEST_F(NetTest, TheLinkGoesDownWithThePeer) {
  create_tap();
  start();
  peer_.reset();
  run();
  EXPECT_FALSE(device_->link_up());
  EXPECT_EQ(config().status, 0);
  EXPECT_EQ(driver_.interrupts().config_changes, 1);
  driver_sends(pattern(60));
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_TRUE(driver_.take_used(kTransmit)) << "frames go nowhere, but do not pile up";
  EXPECT_GE(idle_time().count(), 25);
  driver_.reset();
  start();
  EXPECT_EQ(config().status, 0);
}

TEST_F(NetTest, TheLinkGoesDownWhileFramesWait) {
  create_tap();
  start(256);
  for (int i = 0; i < 120; ++i) driver_sends(pattern(9000));
  ASSERT_TRUE(driver_.ring(kTransmit));
  peer_.reset();
  run();
  unsigned done = 0;
  while (driver_.take_used(kTransmit)) ++done;
  EXPECT_EQ(done, 120U);
}

TEST_F(NetTest, MemoryThatIsNotThereIsAnErrorOfTheDriver) {
  create_tap();
  start();
  const DmaSegment nowhere{DmaAddr(TestDriver::kMemorySize - 4), 4000};
  driver_.add(kTransmit, {driver_.put_value(Header{}), nowhere}, {});
  EXPECT_FALSE(driver_.ring(kTransmit));
  EXPECT_TRUE(driver_.ring(kTransmit)) << "nothing more happens until reset";
  driver_.reset();

  start();
  driver_.add(kReceive, {}, {nowhere});
  peer_sends(with_header(pattern(60)));
  EXPECT_FALSE(driver_.ring(kReceive));
  driver_.reset();

  start();
  EXPECT_EQ(driver_.interrupts().resets_wanted, 0);
  offer(2000);
  EXPECT_TRUE(driver_.ring(kReceive));
  driver_.add(kReceive, {}, {nowhere});
  peer_sends(with_header(pattern(3000)));
  run();
  EXPECT_EQ(driver_.interrupts().resets_wanted, 1);
  EXPECT_GE(idle_time().count(), 25);
  driver_.reset();

  start();
  driver_sends(pattern(77));
  EXPECT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(peer_receives(), with_header(pattern(77)));
}

TEST_F(NetTest, AReceiveBufferWithoutRoomForAHeaderIsAnError) {
  create_tap();
  start();
  offer(11);
  peer_sends(with_header(pattern(60)));
  EXPECT_FALSE(driver_.ring(kReceive));
  driver_.reset();
  start();
  driver_.add(kReceive, {driver_.allocate(100)}, {});
  EXPECT_FALSE(driver_.ring(kReceive));
}

TEST_F(NetTest, ResetForgetsTheDriver) {
  create_tap();
  start();
  offer(1000);
  ASSERT_TRUE(driver_.ring(kReceive));
  peer_sends(with_header(pattern(5000)));  // waits for room
  run();
  driver_.reset();
  ASSERT_TRUE(driver_.ring(kReceive));
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_GE(idle_time().count(), 25);
  start();
  offer(2000);
  peer_sends(with_header(pattern(80)));
  ASSERT_TRUE(driver_.ring(kReceive));
  run();
  EXPECT_EQ(driver_receives_payload(), pattern(80));
}

// As when a vCPU resets the device while the event loop is at work.
TEST_F(NetTest, ResetComesFromAnotherThread) {
  create_tap();
  std::thread looper([&] { EXPECT_TRUE(loop_->run()); });
  for (unsigned round = 0; round < 50; ++round) {
    ASSERT_TRUE(driver_.start(*device_));
    peer_sends(with_header(pattern(60)));
    offer(2000);
    driver_sends(pattern(60));
    ASSERT_TRUE(driver_.ring(kTransmit));
    std::this_thread::sleep_for(std::chrono::microseconds(round * 10));
    driver_.reset();
  }
  loop_->stop();
  looper.join();
}

TEST_F(NetTest, KeepsAddressAndMtuOverASave) {
  create(NetOptions::Backend::kTap, SOCK_SEQPACKET, 1400);
  StateWriter writer;
  device_->save(writer);
  create_tap();
  StateReader reader(writer.bytes());
  ASSERT_TRUE(device_->restore(reader));
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(config().mtu, 1400);
}

TEST_F(NetTest, RefusesAHostileState) {
  create_tap();
  StateWriter writer;
  device_->save(writer);
  const Bytes good(writer.bytes().begin(), writer.bytes().end());
  for (std::size_t size = 0; size < good.size(); ++size) {
    StateReader reader{std::span(good).first(size)};
    EXPECT_FALSE(device_->restore(reader)) << size;
  }
  const auto refuses = [&](std::size_t at, std::uint8_t value) {
    Bytes bad = good;
    bad.at(at) = std::byte{value};
    StateReader reader(bad);
    return !device_->restore(reader);
  };
  EXPECT_TRUE(refuses(0, 2)) << "version";
  EXPECT_TRUE(refuses(4, 0x53)) << "multicast";
  Bytes small = good;
  small.at(10) = std::byte{67};
  small.at(11) = std::byte{0};
  StateReader reader(small);
  EXPECT_FALSE(device_->restore(reader)) << "MTU";
}

// With a TAP device of the kernel, where this machine lets us have one.
TEST_F(NetTest, SpeaksToATapDeviceOfTheKernel) {
  auto tun = Fd::open("/dev/net/tun", O_RDWR);
  if (!tun) GTEST_SKIP() << "no access to /dev/net/tun";
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (::ioctl(tun->get(), TUNSETIFF, &request) != 0) GTEST_SKIP() << "may not create a TAP device";
  NetOptions options;
  options.mac = kMac;
  options.fd = tun->duplicate().value();
  EXPECT_FALSE(VirtioNet::create(std::move(options), driver_.space(), *loop_)) << "no VNET_HDR";

  Fd good = Fd::open("/dev/net/tun", O_RDWR).value();
  request = {};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  ASSERT_EQ(::ioctl(good.get(), TUNSETIFF, &request), 0);
  int size = sizeof(Header);
  ASSERT_EQ(::ioctl(good.get(), TUNSETVNETHDRSZ, &size), 0);
  options = {};
  options.mac = kMac;
  options.fd = std::move(good);
  device_ = VirtioNet::create(std::move(options), driver_.space(), *loop_).value();
  start();
  // The interface is down: the kernel refuses, and life goes on.
  driver_sends(pattern(60));
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_TRUE(driver_.take_used(kTransmit));
  EXPECT_EQ(device_->dropped(), 1U);

  constexpr std::uint16_t kEtherType = 0xb588;  // 0x88b5, for experiments, big-endian
  const Fd wire(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, kEtherType));
  ASSERT_TRUE(wire.valid());
  request.ifr_flags = IFF_UP;
  ASSERT_EQ(::ioctl(wire.get(), SIOCSIFFLAGS, &request), 0);
  ASSERT_EQ(::ioctl(wire.get(), SIOCGIFINDEX, &request), 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = kEtherType;
  address.sll_ifindex = request.ifr_ifindex;
  ASSERT_EQ(::bind(wire.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  Bytes frame = pattern(1000);
  std::ranges::fill(frame.begin(), frame.begin() + 12, std::byte{0xff});
  frame[12] = std::byte{0x88};
  frame[13] = std::byte{0xb5};

  driver_sends(frame);
  driver_sends(frame, {.gso_type = virtio_net::kGsoTcp4, .gso_size = 0});  // hostile
  driver_sends(frame, {.flags = virtio_net::kNeedsCsum, .csum_start = 60000});
  ASSERT_TRUE(driver_.ring(kTransmit));
  EXPECT_EQ(device_->dropped(), 3U) << "the kernel refused the hostile headers";
  Bytes seen(2000);
  ASSERT_EQ(::recv(wire.get(), seen.data(), seen.size(), 0), 1000);
  seen.resize(1000);
  EXPECT_EQ(seen, frame);

  for (int i = 0; i < 16; ++i) offer(200);
  ASSERT_TRUE(driver_.ring(kReceive));
  ASSERT_EQ(::send(wire.get(), frame.data(), frame.size(), 0), 1000);
  run();
  std::optional<Bytes> received;
  do received = driver_receives_payload();
  while (received && received->size() != 1000);  // the kernel greets a new interface
  EXPECT_EQ(received, frame);
}

}  // namespace
}  // namespace bulkhead
