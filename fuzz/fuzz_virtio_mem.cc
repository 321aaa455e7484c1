// SPDX-License-Identifier: Apache-2.0
// A hostile driver of the virtio memory device, and a host that sometimes has no memory to give:
// requests of any content, arbitrary descriptors, wishes of the host, resets, restores. After each
// step the host's units are those that the device counts, and not too many.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/fakes_for_test.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/memory.h"
#include "devices/virtio/memory_for_test.h"

namespace bulkhead {
namespace {

constexpr Gpa kBase{4 * kGiB};
constexpr std::uint64_t kUnits = 4;
constexpr std::uint64_t kRegion = kUnits * kGrowthUnit;
constexpr std::uint16_t kQueueSize = 8;

// Kept from one input to the next: RAM and descriptors are costly to create.
struct Host {
  TestDriver driver;
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
};

class Session {
 public:
  explicit Session(Host& host) : host_(host) { CHECK(start()); }
  ~Session() { host_.driver.reset(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> step(ByteReader& input) {
    const std::uint64_t before = memory_->counters().plugged_bytes;
    TRY(act(input));
    check(before);
    return {};
  }

 private:
  Result<void> start() { return host_.driver.start(*memory_, {.queue_size = kQueueSize}); }
  Result<void> act(ByteReader& input);
  Result<void> ask(ByteReader& input);
  Result<void> put_descriptor(ByteReader& input);
  Result<void> restore(ByteReader& input);
  void check(std::uint64_t plugged_before);

  Host& host_;
  FakeResizer resizer_{kBase};
  std::unique_ptr<VirtioMem> memory_ =
      VirtioMem::create({kBase, kRegion}, host_.driver.space(), *host_.loop, resizer_).value();
  bool restored_ = false;
  bool kept_ = false;  // the host refused to take a unit back
};

// Mostly blocks of the region, so that much of what is asked for can be done.
Result<void> Session::ask(ByteReader& input) {
  MemoryRequest request;
  request.type = TRY(input.read<std::uint8_t>()) % 5;
  const auto choice = TRY(input.read<std::uint8_t>());
  request.addr = choice % 16 == 0
                     ? TRY(input.read<std::uint64_t>())
                     : kBase.value() + TRY(input.read<std::uint8_t>()) * VirtioMem::kBlockSize;
  request.nb_blocks =
      choice % 8 == 1 ? TRY(input.read<std::uint16_t>()) : TRY(input.read<std::uint8_t>());
  constexpr Gpa kPlace{48 * kMiB};
  CHECK(host_.driver.memory().write(kPlace, std::as_bytes(std::span(&request, 1))));
  host_.driver.add(0, {{DmaAddr(kPlace.value()), sizeof request}},
                   {{DmaAddr(kPlace.value() + 64), sizeof(MemoryResponse)}});
  static_cast<void>(host_.driver.ring(0));
  static_cast<void>(host_.driver.take_used(0));
  return {};
}

Result<void> Session::put_descriptor(ByteReader& input) {
  TestDriver::Descriptor descriptor;
  const auto index = TRY(input.read<std::uint8_t>());
  descriptor.address = TRY(input.read<std::uint64_t>());
  descriptor.length = TRY(input.read<std::uint32_t>());
  descriptor.flags = TRY(input.read<std::uint8_t>());
  descriptor.next = TRY(input.read<std::uint8_t>());
  host_.driver.put_descriptor(0, index % kQueueSize, descriptor);
  host_.driver.offer(0, index);
  return {};
}

// Any bytes, or a state of the right form with any blocks plugged.
Result<void> Session::restore(ByteReader& input) {
  const bool any = TRY(input.read<std::uint8_t>()) % 2 == 0;
  const std::uint64_t requested = TRY(input.read<std::uint8_t>()) * VirtioMem::kBlockSize;
  const std::span<const std::byte> bytes = TRY(input.take(kUnits * sizeof(std::uint64_t)));
  StateWriter good;
  good.put(std::uint32_t{1});
  good.put(kBase.value());
  good.put(kRegion);
  good.put(requested);
  good.put_bytes(bytes);
  StateReader reader(any ? bytes : good.bytes());
  restored_ = true;
  MutexLock lock(memory_->lock());
  if (memory_->restore(reader)) CHECK(state_of(*memory_).size() == good.bytes().size());
  return {};
}

Result<void> Session::act(ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  const auto choice = TRY(input.read<std::uint8_t>());
  switch (command % 12) {
    case 0:
      return put_descriptor(input);
    case 1:
      host_.driver.set_available_index(0, choice);
      return {};
    case 2:
      static_cast<void>(host_.driver.ring(0));
      return host_.loop->run_once(0);
    case 3:
      resizer_.limit = choice % (kUnits + 1);
      return {};
    case 4:
      resizer_.refuse_removal = choice % 4 == 0;
      resizer_.refuse_discard = choice % 4 == 1;
      kept_ = kept_ || resizer_.refuse_removal;
      return {};
    case 5:
      return choice % 4 == 0 ? restore(input) : Result<void>();
    case 6:
      host_.driver.reset();
      return start();
    case 7:
    case 8:
      static_cast<void>(memory_->set_requested_size(choice * VirtioMem::kBlockSize));
      return {};
    default:
      return ask(input);
  }
}

void Session::check(std::uint64_t plugged_before) {
  const VirtioMem::Counters now = memory_->counters();
  CHECK(now.units == resizer_.units.size());
  CHECK(now.plugged_bytes <= now.units * kGrowthUnit);
  if (restored_) return;  // a state may say anything
  CHECK(now.plugged_bytes <= plugged_before || now.plugged_bytes <= now.requested_bytes);
  if (!kept_) CHECK((now.plugged_bytes == 0) == (now.units == 0));
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static Host host;
  set_log_level(LogLevel::kError);
  ByteReader input(std::as_bytes(std::span(data, size)));
  Session session(host);
  while (session.step(input)) {
  }
  return 0;
}
