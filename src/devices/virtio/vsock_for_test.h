// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/vsock.h"

namespace bulkhead {

// A socket device, its driver, and programs of the host, in a folder of their own.
class VsockTest : public ::testing::Test {
 protected:
  using Header = virtio_vsock::Header;
  using Op = virtio_vsock::Op;
  using Bytes = std::vector<std::byte>;

  static constexpr std::uint64_t kCid = 42;
  static constexpr std::uint32_t kGuestPort = 1024;
  static constexpr std::uint32_t kHostPort = 52;
  static constexpr std::uint32_t kWindow = 256 * 1024;

  struct Packet {
    Header header;
    Bytes data;
  };

  static Bytes pattern(std::size_t size, unsigned seed = 1) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
      bytes[i] = static_cast<std::byte>(i * 7 + i / 251 + seed);
    return bytes;
  }

  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    char name[] = "/tmp/bulkhead-vsock-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    loop_ = EventLoop::create().value();
    create();
  }
  void TearDown() override {
    device_.reset();
    ::unlink((path() + "_52").c_str());
    EXPECT_EQ(::rmdir(folder_.c_str()), 0) << "something was left behind";
  }
  void create(std::uint32_t timeout_ms = 5000) {
    device_.reset();
    VsockOptions options{.guest_cid = kCid, .path = path(), .timeout_ms = timeout_ms};
    device_ = VirtioVsock::create(options, driver_.space(), *loop_).value();
  }
  void start(unsigned buffers = 16) {
    ASSERT_TRUE(driver_.start(*device_));
    buffers_.clear();
    offer(buffers);
    run();
  }
  void run() {
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(loop_->run_once(0));
  }
  void run_for(int time_ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(time_ms);
    while (std::chrono::steady_clock::now() < end) ASSERT_TRUE(loop_->run_once(5));
  }
  std::string path() const { return folder_ + "/v.sock"; }
  std::size_t connections() {
    MutexLock lock(device_->lock());
    return device_->connections();
  }

  // The guest's side.
  void offer(unsigned count, std::uint32_t size = 4096) {
    for (; count > 0; --count) {
      const DmaSegment buffer = driver_.allocate(size);
      const auto head = driver_.add(VirtioVsock::kReceiveQueue, {}, {buffer});
      if (!head) return;
      buffers_[*head] = buffer;
    }
  }
  Header header(Op op) const {
    Header header;
    header.src_cid = kCid;
    header.dst_cid = virtio_vsock::kHostCid;
    header.src_port = kGuestPort;
    header.dst_port = host_port_;
    header.type = virtio_vsock::kTypeStream;
    header.op = op;
    header.buf_alloc = guest_window_;
    header.fwd_cnt = guest_forwarded_;
    return header;
  }
  Result<void> guest_sends(const Header& header, const Bytes& data = {}) {
    const DmaSegment head = driver_.put_value(header);
    if (data.empty()) {
      driver_.add(VirtioVsock::kTransmitQueue, {head}, {});
    } else {
      driver_.add(VirtioVsock::kTransmitQueue, {head, driver_.put(data)}, {});
    }
    Result<void> result = driver_.ring(VirtioVsock::kTransmitQueue);
    run();
    while (driver_.take_used(VirtioVsock::kTransmitQueue)) ++transmitted_;
    return result;
  }
  void guest_sends(Op op) { ASSERT_TRUE(guest_sends(header(op))); }
  void guest_writes(const Bytes& data) {
    Header packet = header(Op::kRw);
    packet.len = static_cast<std::uint32_t>(data.size());
    ASSERT_TRUE(guest_sends(packet, data));
  }
  void guest_shuts_down(std::uint32_t flags) {
    Header packet = header(Op::kShutdown);
    packet.flags = flags;
    ASSERT_TRUE(guest_sends(packet));
  }
  // The next packet for the guest; its buffer is offered again.
  std::optional<Packet> guest_receives() {
    const auto used = driver_.take_used(VirtioVsock::kReceiveQueue);
    if (!used) return std::nullopt;
    DmaSegment buffer = buffers_.at(static_cast<std::uint16_t>(used->id));
    buffer.length = used->length;
    Packet packet{driver_.get_value<Header>(buffer), driver_.get(buffer)};
    packet.data.erase(packet.data.begin(), packet.data.begin() + sizeof(Header));
    EXPECT_EQ(packet.header.len, packet.data.size());
    EXPECT_EQ(packet.header.src_cid, virtio_vsock::kHostCid);
    EXPECT_EQ(packet.header.dst_cid, kCid);
    return packet;
  }
  std::optional<Op> guest_hears() {
    const auto packet = guest_receives();
    if (!packet) return std::nullopt;
    return packet->header.op;
  }

  // The host's side.
  Fd new_socket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)); }
  static sockaddr_un address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    return address;
  }
  Fd client_connects() {
    Fd client = new_socket();
    const sockaddr_un to = address(path());
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    return client;
  }
  Fd server_listens() {
    Fd server = new_socket();
    const sockaddr_un at = address(path() + "_52");
    EXPECT_EQ(::bind(server.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(server.get(), 2000), 0);
    return server;
  }
  static void says(const Fd& socket, std::string_view text) {
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Empty at the end of the stream, nothing when there is nothing.
  static std::optional<std::string> hears(const Fd& socket, std::size_t most = 1 << 20) {
    std::string text(most, 0);
    const ssize_t count = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
    if (count < 0) return std::nullopt;
    text.resize(static_cast<std::size_t>(count));
    return text;
  }

  // A connection into the guest, accepted.
  Fd open_from_host() {
    Fd client = client_connects();
    says(client, "CONNECT 1024\n");
    run();
    const auto request = guest_receives();
    EXPECT_TRUE(request && request->header.op == Op::kRequest);
    host_port_ = request->header.src_port;
    guest_sends(Op::kResponse);
    EXPECT_EQ(hears(client), "OK " + std::to_string(host_port_) + "\n");
    return client;
  }
  // A connection out of the guest, accepted.
  Fd open_from_guest(const Fd& server) {
    host_port_ = kHostPort;
    guest_sends(Op::kRequest);
    EXPECT_EQ(guest_hears(), Op::kResponse);
    return Fd(::accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK));
  }

  std::string folder_;
  TestDriver driver_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<VirtioVsock> device_;
  std::map<std::uint16_t, DmaSegment> buffers_;
  std::uint32_t host_port_ = 0;
  std::uint32_t guest_window_ = kWindow;
  std::uint32_t guest_forwarded_ = 0;
  unsigned transmitted_ = 0;
};

}  // namespace bulkhead
