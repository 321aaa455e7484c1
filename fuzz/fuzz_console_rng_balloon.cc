// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the virtio console, entropy device and balloon: arbitrary descriptors, heads
// and indices in the queues' memory, doorbells, configuration accesses, input, resets, restores.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/fakes_for_test.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/console.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/rng.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kRamPages = TestDriver::kMemorySize / kPageSize;
constexpr std::uint16_t kQueueSize = 8;

class QuietConsole : public ConsoleBackend {
 public:
  void connect(Port, ConsoleInput* input) override { input_ = input; }
  void write(Port, std::span<const std::byte> bytes) override { CHECK(!bytes.empty()); }
  void input_ready(Port) override {}
  void type(std::span<const std::byte> bytes) { CHECK(input_->receive(bytes) <= bytes.size()); }

 private:
  ConsoleInput* input_ = nullptr;
};

// Kept from one input to the next: RAM and descriptors are costly to create.
struct Host {
  TestDriver driver;
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  QuietConsole backend;
  std::unique_ptr<VirtioConsole> console =
      VirtioConsole::create(driver.space(), *loop, backend).value();
  std::unique_ptr<VirtioRng> rng = VirtioRng::create(driver.space(), *loop).value();
  std::unique_ptr<VirtioBalloon> balloon =
      VirtioBalloon::create(driver.space(), *loop, kRamPages).value();
  std::array<VirtioDevice*, 3> devices = {console.get(), rng.get(), balloon.get()};
};

class Session {
 public:
  Session(Host& host, VirtioDevice& device, std::uint64_t features)
      : host_(host), device_(device), features_(features) {
    CHECK(start());
  }
  ~Session() { host_.driver.reset(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> step(ByteReader& input);

 private:
  Result<void> start() {
    return host_.driver.start(device_, {.queue_size = kQueueSize, .features = features_});
  }
  std::uint16_t queue_of(std::uint8_t choice) const {
    return static_cast<std::uint16_t>(choice % device_.queue_sizes().size());
  }
  Result<void> add_request(std::uint16_t queue, ByteReader& input);
  Result<void> put_descriptor(std::uint16_t queue, ByteReader& input);
  Result<void> access_config(std::uint8_t choice, ByteReader& input);
  Result<void> restore(ByteReader& input);

  Host& host_;
  VirtioDevice& device_;
  const std::uint64_t features_;
};

// A well-formed request whose segments lie anywhere.
Result<void> Session::add_request(std::uint16_t queue, ByteReader& input) {
  const auto position = TRY(input.read<std::uint32_t>());
  const auto length = TRY(input.read<std::uint16_t>());
  const DmaSegment anywhere{DmaAddr(position % (TestDriver::kMemorySize + kPageSize)), length};
  if (position % 2 == 0) {
    host_.driver.add(queue, {anywhere}, {});
  } else {
    host_.driver.add(queue, {}, {anywhere, anywhere});
  }
  return {};
}

Result<void> Session::put_descriptor(std::uint16_t queue, ByteReader& input) {
  TestDriver::Descriptor descriptor;
  const auto index = TRY(input.read<std::uint8_t>());
  descriptor.address = TRY(input.read<std::uint64_t>());
  descriptor.length = TRY(input.read<std::uint32_t>());
  descriptor.flags = TRY(input.read<std::uint8_t>());
  descriptor.next = TRY(input.read<std::uint8_t>());
  host_.driver.put_descriptor(queue, index % kQueueSize, descriptor);
  host_.driver.offer(queue, index);
  return {};
}

Result<void> Session::access_config(std::uint8_t choice, ByteReader& input) {
  std::array<std::byte, 8> bytes{};
  const std::size_t size = std::size_t{1} << (choice % 4);
  const auto offset = TRY(input.read<std::uint8_t>());
  MutexLock lock(device_.lock());
  if (choice % 8 < 4) {
    device_.read_config(offset, std::span(bytes).first(size));
  } else {
    device_.write_config(offset, TRY(input.take(size)));
  }
  return {};
}

Result<void> Session::restore(ByteReader& input) {
  const auto length = TRY(input.read<std::uint8_t>());
  StateReader reader(TRY(input.take(length % 32)));
  MutexLock lock(device_.lock());
  if (device_.restore(reader)) CHECK(restore_state(device_, state_of(device_)));
  return {};
}

Result<void> Session::step(ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  const auto choice = TRY(input.read<std::uint8_t>());
  const std::uint16_t queue = queue_of(choice);
  switch (command % 10) {
    case 0:
    case 1:
      return add_request(queue, input);
    case 2:
      return put_descriptor(queue, input);
    case 3:
      host_.driver.set_available_index(queue, TRY(input.read<std::uint16_t>()));
      return {};
    case 4:
    case 5:
      static_cast<void>(host_.driver.ring(queue));
      return {};
    case 6:
      return access_config(choice, input);
    case 7:
      host_.backend.type(TRY(input.take(choice)));
      return {};
    case 8:
      return choice % 4 == 0 ? restore(input) : host_.loop->run_once(0);
    default:
      host_.driver.reset();
      return start();
  }
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static Host host;
  set_log_level(LogLevel::kError);
  ByteReader input(std::as_bytes(std::span(data, size)));
  const auto choice = input.read<std::uint8_t>();
  if (!choice) return 0;
  const std::uint64_t features = *choice >= 128 ? virtio::kFeatureEventIndex : 0;
  Session session(host, *host.devices[*choice % host.devices.size()], features);
  while (session.step(input)) {
  }
  return 0;
}
