// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a socket device, with clients and a server on the host's side: descriptors,
// packets, doorbells, greetings.

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/log.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/vsock.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kCid = 3;
constexpr std::uint32_t kServerPort = 1;

// Zeros when the input has ended.
template <class T>
T take(ByteReader& input) {
  auto value = input.read<T>();
  return value ? *value : T{0};
}

const std::string& folder() {
  static const std::string* const path = [] {
    char name[] = "/tmp/fuzz-vsock-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    std::atexit([] { ::rmdir(folder().c_str()); });
    return new std::string(name);
  }();
  return *path;
}

class Session {
 public:
  explicit Session(TestDriver& driver)
      : driver_(driver),
        loop_(EventLoop::create().value()),
        server_(VsockListener::create(path() + "_" + std::to_string(kServerPort)).value()),
        device_(VirtioVsock::create({.guest_cid = kCid, .path = path(), .timeout_ms = 1},
                                    driver_.space(), *loop_)
                    .value()) {}

  void start() {
    CHECK(driver_.start(*device_));
    buffer_ = 0;
  }
  void restart() {
    driver_.reset();
    start();
  }

  void step(ByteReader& input) {
    const auto action = take<std::uint8_t>(input);
    const std::uint16_t queue = (action >> 4) % 3;
    switch (action % 12) {
      case 0:
        put_descriptor(input, queue);
        break;
      case 1:
        driver_.offer(queue, take<std::uint8_t>(input));
        break;
      case 2:
        ring(queue);
        break;
      case 3:
      case 4:
        send_packet(input);
        break;
      case 5:
        offer_buffer(input);
        break;
      case 6:
      case 7:
        CHECK(loop_->run_once(0));
        break;
      case 8:
        client_connects(input);
        break;
      case 9:
        peer_writes(input);
        break;
      case 10:
        peer_acts(input);
        break;
      default:
        while (driver_.take_used(queue)) {
        }
        if (take<std::uint8_t>(input) == 255) restart();
        break;
    }
  }

 private:
  static std::string path() { return folder() + "/v"; }

  void ring(std::uint16_t queue) {
    if (!driver_.ring(queue)) restart();
  }
  void put_descriptor(ByteReader& input, std::uint16_t queue) {
    TestDriver::Descriptor descriptor;
    const auto shape = take<std::uint8_t>(input);
    descriptor.address =
        shape % 16 == 0 ? TestDriver::kMemorySize - 64 : 4 * kMiB + take<std::uint16_t>(input);
    descriptor.length = shape % 16 == 1 ? ~std::uint32_t{0} : take<std::uint16_t>(input);
    descriptor.flags = shape >> 4 & 7;
    descriptor.next = take<std::uint8_t>(input) % 17;
    driver_.put_descriptor(queue, take<std::uint8_t>(input) % 16, descriptor);
  }
  // A packet that is mostly right, since nothing else gets far.
  void send_packet(ByteReader& input) {
    virtio_vsock::Header header;
    const auto shape = take<std::uint8_t>(input);
    header.src_cid = shape % 32 == 0 ? take<std::uint64_t>(input) : kCid;
    header.dst_cid = virtio_vsock::kHostCid;
    header.src_port = take<std::uint8_t>(input) % 8;
    header.dst_port = shape % 2 != 0 ? kServerPort : (1U << 30) + take<std::uint8_t>(input) % 8;
    header.type = shape % 32 == 1 ? 2 : 1;
    header.op = static_cast<virtio_vsock::Op>(take<std::uint8_t>(input) % 9);
    header.flags = take<std::uint8_t>(input) % 4;
    header.buf_alloc = take<std::uint32_t>(input);
    header.fwd_cnt = take<std::uint32_t>(input);
    const std::uint32_t size = take<std::uint16_t>(input);
    header.len = shape % 32 == 2 ? size + 1 : size;
    if (!range_fits(used_bytes(), size + 256, kArena)) restart();
    driver_.add(VirtioVsock::kTransmitQueue, {driver_.put_value(header), allocate(size)}, {});
    if (shape % 4 != 0) ring(VirtioVsock::kTransmitQueue);
  }
  void offer_buffer(ByteReader& input) {
    const std::uint32_t size = take<std::uint16_t>(input) % 8192;
    driver_.add(VirtioVsock::kReceiveQueue, {}, {allocate(size)});
  }
  // The arena is reused: what lies in it matters to nobody.
  DmaSegment allocate(std::uint32_t size) {
    buffer_ = range_fits(buffer_, size, kArena) ? buffer_ : 0;
    const DmaSegment segment{DmaAddr(8 * kMiB + buffer_), size};
    buffer_ += size;
    return segment;
  }
  std::uint64_t used_bytes() { return driver_.allocate(0).address.value() - 4 * kMiB; }

  void client_connects(ByteReader& input) {
    if (peers_.size() > 20) peers_.erase(peers_.begin());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path(), address.sun_path);
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      return;
    }
    const auto port = take<std::uint8_t>(input);
    if (port < 128) write(client, "CONNECT " + std::to_string(port % 8) + "\n");
    peers_.push_back(std::move(client));
  }
  void peer_writes(ByteReader& input) {
    if (auto accepted = server_.accept()) peers_.push_back(std::move(*accepted));
    if (peers_.empty()) return;
    const Fd& peer = peers_[take<std::uint8_t>(input) % peers_.size()];
    const auto size = take<std::uint8_t>(input);
    if (size > 200) {
      write(peer, std::string(std::size_t{size} * 500, 'x'));
    } else {
      const auto bytes = input.take(std::min<std::size_t>(size, input.remaining()));
      write(peer, std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
    }
  }
  void peer_acts(ByteReader& input) {
    if (peers_.empty()) return;
    const std::size_t index = take<std::uint8_t>(input) % peers_.size();
    const Fd& peer = peers_[index];
    switch (take<std::uint8_t>(input) % 4) {
      case 0:
        ::shutdown(peer.get(), SHUT_WR);
        break;
      case 1:
        ::shutdown(peer.get(), SHUT_RD);
        break;
      case 2:
        peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(index));
        break;
      default: {
        std::array<char, 65536> bytes;
        [[maybe_unused]] const ssize_t count =
            ::recv(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        break;
      }
    }
  }
  static void write(const Fd& socket, const std::string& text) {
    [[maybe_unused]] const ssize_t sent =
        ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  static constexpr std::uint64_t kArena = 1 * kMiB;

  TestDriver& driver_;
  std::unique_ptr<EventLoop> loop_;
  VsockListener server_;
  std::unique_ptr<VirtioVsock> device_;
  std::vector<Fd> peers_;
  std::uint64_t buffer_ = 0;
};

void run(std::span<const std::byte> bytes) {
  static TestDriver* const driver = new TestDriver;  // its memory costs too much to make each time
  ByteReader input(bytes);
  Session session(*driver);
  session.start();
  for (unsigned steps = 0; steps < 500 && !input.empty(); ++steps) session.step(input);
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  ::signal(SIGPIPE, SIG_IGN);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bulkhead::set_log_level(bulkhead::LogLevel::kError);
  bulkhead::run(std::as_bytes(std::span(data, size)));
  return 0;
}
