// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/net.h"

namespace bulkhead {

// A network card, its driver, and the other end of the cable.
class NetTest : public ::testing::Test {
 protected:
  using Header = virtio_net::Header;
  using Bytes = std::vector<std::byte>;

  static constexpr std::uint16_t kReceive = VirtioNet::kReceiveQueue;
  static constexpr std::uint16_t kTransmit = VirtioNet::kTransmitQueue;
  static constexpr std::array<std::uint8_t, 6> kMac = {0x52, 0x54, 0, 1, 2, 3};

  static Bytes pattern(std::size_t size, unsigned seed = 1) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
      bytes[i] = static_cast<std::byte>(i * 7 + i / 251 + seed);
    return bytes;
  }
  static Bytes with_header(const Bytes& frame, const Header& header = {}) {
    const auto head = std::as_bytes(std::span(&header, 1));
    Bytes bytes(head.begin(), head.end());
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    return bytes;
  }

  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    loop_ = EventLoop::create().value();
  }

  void create(NetOptions::Backend backend, int socket_type, std::uint16_t mtu = 1500) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, socket_type | SOCK_NONBLOCK, 0, ends), 0);
    peer_ = Fd(ends[1]);
    NetOptions options;
    options.backend = backend;
    options.fd = Fd(ends[0]);
    options.mac = kMac;
    options.mtu = mtu;
    device_ = VirtioNet::create(std::move(options), driver_.space(), *loop_).value();
  }
  void create_tap() { create(NetOptions::Backend::kTap, SOCK_SEQPACKET); }
  void create_stream() { create(NetOptions::Backend::kStream, SOCK_STREAM); }

  void start(std::uint16_t queue_size = 16) {
    ASSERT_TRUE(driver_.start(*device_, {.queue_size = queue_size}));
    run();
  }
  void start_without(std::uint64_t features, std::uint16_t queue_size = 16) {
    ASSERT_TRUE(driver_.start(*device_));
    driver_.reset();
    const std::uint64_t chosen = (TestDriver::kFeatures | device_->offered_features()) & ~features;
    const std::uint16_t sizes[] = {queue_size, queue_size};
    driver_.layout(sizes, chosen);
    MutexLock lock(device_->lock());
    ASSERT_TRUE(device_->activate({chosen, driver_.queues(), driver_.interrupts()}));
  }
  void run() {
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(loop_->run_once(0));
  }

  void peer_sends(const Bytes& bytes) {
    ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  std::optional<Bytes> peer_receives() {
    Bytes bytes(70000);
    const ssize_t count = ::recv(peer_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0) return std::nullopt;
    bytes.resize(static_cast<std::size_t>(count));
    return bytes;
  }
  void offer(std::uint32_t size) {
    const DmaSegment buffer = driver_.allocate(size);
    const auto head = driver_.add(kReceive, {}, {buffer});
    ASSERT_TRUE(head);
    buffers_[*head] = buffer;
  }
  // The next frame that the driver got, put together from its buffers; with its header.
  std::optional<Bytes> driver_receives() {
    Bytes frame;
    std::uint16_t left = 1;
    for (bool first = true; left > 0; --left, first = false) {
      const auto used = driver_.take_used(kReceive);
      if (!used) return std::nullopt;
      DmaSegment buffer = buffers_.at(static_cast<std::uint16_t>(used->id));
      buffer.length = used->length;
      const Bytes part = driver_.get(buffer);
      if (first) left = driver_.get_value<Header>(buffer).num_buffers;
      frame.insert(frame.end(), part.begin(), part.end());
    }
    return frame;
  }
  std::optional<Bytes> driver_receives_payload() {
    auto frame = driver_receives();
    if (frame) frame->erase(frame->begin(), frame->begin() + sizeof(Header));
    return frame;
  }
  void driver_sends(const Bytes& frame, const Header& header = {}) {
    ASSERT_TRUE(driver_.add(kTransmit, {driver_.put_value(header), driver_.put(frame)}, {}));
  }
  virtio_net::Config config() {
    virtio_net::Config value;
    device_->read_config(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  // How long the loop waits when nothing is expected to happen.
  std::chrono::milliseconds idle_time() {
    const auto before = std::chrono::steady_clock::now();
    EXPECT_TRUE(loop_->run_once(30));
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 before);
  }

  TestDriver driver_;
  std::unique_ptr<EventLoop> loop_;
  Fd peer_;
  std::unique_ptr<VirtioNet> device_;
  std::map<std::uint16_t, DmaSegment> buffers_;
};

}  // namespace bulkhead
