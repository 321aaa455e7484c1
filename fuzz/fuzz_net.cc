// SPDX-License-Identifier: Apache-2.0
// A hostile driver and a hostile peer of a network card: descriptors, headers, doorbells, frames.

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/byte_reader.h"
#include "base/log.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/net.h"

namespace bulkhead {
namespace {

// Zeros when the input has ended.
template <class T>
T take(ByteReader& input) {
  auto value = input.read<T>();
  return value ? *value : T{0};
}

class Session {
 public:
  Session(TestDriver& driver, bool stream) : driver_(driver), loop_(EventLoop::create().value()) {
    int ends[2];
    const int type = stream ? SOCK_STREAM : SOCK_SEQPACKET;
    CHECK(::socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, ends) == 0);
    peer_ = Fd(ends[1]);
    NetOptions options;
    options.backend = stream ? NetOptions::Backend::kStream : NetOptions::Backend::kTap;
    options.fd = Fd(ends[0]);
    options.mac = {2};
    device_ = VirtioNet::create(std::move(options), driver_.space(), *loop_).value();
  }

  void start(std::uint64_t unwanted, bool event_index) {
    if (!started_) CHECK(driver_.start(*device_, {}));
    started_ = true;
    driver_.reset();
    std::uint64_t features = (TestDriver::kFeatures | device_->offered_features()) & ~unwanted;
    if (event_index) features |= virtio::kFeatureEventIndex;
    const std::uint16_t sizes[] = {16, 16};
    driver_.layout(sizes, features);
    MutexLock lock(device_->lock());
    CHECK(device_->activate({features, driver_.queues(), driver_.interrupts()}));
  }

  void step(ByteReader& input) {
    const auto action = take<std::uint8_t>(input);
    const std::uint16_t queue = action >> 7;
    switch (action % 8) {
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
        peer_sends(input);
        break;
      case 4:
        CHECK(loop_->run_once(0));
        break;
      case 5:
        put_data(input);
        break;
      case 6:
        peer_drains();
        break;
      default:
        rare(input, queue);
        break;
    }
  }

 private:
  void rare(ByteReader& input, std::uint16_t queue) {
    switch (take<std::uint8_t>(input) % 4) {
      case 0:
        start(take<std::uint32_t>(input), take<std::uint8_t>(input) % 2 != 0);
        break;
      case 1:
        driver_.set_available_index(queue, take<std::uint16_t>(input));
        break;
      case 2:
        driver_.set_used_event(queue, take<std::uint16_t>(input));
        break;
      default: {
        std::array<std::byte, 8> bytes{};
        device_->read_config(take<std::uint8_t>(input), bytes);
        device_->write_config(take<std::uint8_t>(input), bytes);
        break;
      }
    }
  }
  void ring(std::uint16_t queue) {
    if (driver_.ring(queue)) return;
    start(0, false);  // as the driver has to
  }
  void put_descriptor(ByteReader& input, std::uint16_t queue) {
    const auto index = static_cast<std::uint16_t>(take<std::uint8_t>(input) % 16);
    TestDriver::Descriptor descriptor;
    descriptor.address = 4 * kMiB + take<std::uint16_t>(input);
    const auto shape = take<std::uint8_t>(input);
    if (shape % 16 == 0) descriptor.address = TestDriver::kMemorySize - 64;
    descriptor.length = take<std::uint16_t>(input);
    if (shape % 16 == 1) descriptor.length = ~std::uint32_t{0};
    descriptor.flags = shape >> 4 & 7;
    descriptor.next = take<std::uint8_t>(input) % 17;
    driver_.put_descriptor(queue, index, descriptor);
  }
  void put_data(ByteReader& input) {
    const std::uint64_t at = 4 * kMiB + take<std::uint16_t>(input);
    const auto bytes =
        input.take(std::min<std::size_t>(take<std::uint8_t>(input) % 64, input.remaining()));
    CHECK(driver_.memory().write(Gpa(at), *bytes));
  }
  void peer_sends(ByteReader& input) {
    const std::size_t size = take<std::uint16_t>(input);
    const auto head = input.take(std::min<std::size_t>({16, size, input.remaining()}));
    std::ranges::copy(*head, frame_.begin());
    [[maybe_unused]] const ssize_t sent =
        ::send(peer_.get(), frame_.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void peer_drains() {
    while (::recv(peer_.get(), frame_.data(), frame_.size(), MSG_DONTWAIT) > 0) {
    }
  }

  TestDriver& driver_;
  std::unique_ptr<EventLoop> loop_;
  Fd peer_;
  std::unique_ptr<VirtioNet> device_;
  bool started_ = false;
  std::array<std::byte, 1 << 17> frame_{};
};

void run(std::span<const std::byte> bytes) {
  static TestDriver* const driver = new TestDriver;  // its memory costs too much to make each time
  ByteReader input(bytes);
  Session session(*driver, take<std::uint8_t>(input) % 2 != 0);
  session.start(0, false);
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
