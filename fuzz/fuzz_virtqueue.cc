// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a split virtqueue: arbitrary bytes in its memory, between arbitrary
// operations of the device.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_reader.h"
#include "base/check.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/queue.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;

void check_chain(const VirtQueue& queue, const DescriptorChain& chain) {
  CHECK(chain.head() < queue.size());
  CHECK(chain.readable().size() + chain.writable().size() <= queue.size());
  CHECK(chain.readable().size() + chain.writable().size() > 0);
  std::uint64_t total = 0;
  for (const DmaSegment& segment : chain.readable()) total += segment.length;
  for (const DmaSegment& segment : chain.writable()) total += segment.length;
  CHECK(total <= kMaxBytes);
}

class Session {
 public:
  Session(TestDriver& driver, std::uint8_t choice) : driver_(driver) {
    const std::array<std::uint16_t, 1> sizes{static_cast<std::uint16_t>(1 << (choice & 7))};
    driver_.layout(sizes,
                   TestDriver::kFeatures | ((choice & 0x80) != 0 ? virtio::kFeatureEventIndex : 0));
  }

  Result<void> step(ByteReader& input);

 private:
  Result<void> create(ByteReader& input);
  Result<void> write_memory(ByteReader& input);
  Result<void> put_descriptor(ByteReader& input);
  void pop();
  void save_and_restore();

  VirtQueue& queue() { return driver_.queue(0); }

  TestDriver& driver_;
  DescriptorChain chain_;
};

// A queue anywhere, its parts on top of each other or outside of memory.
Result<void> Session::create(ByteReader& input) {
  VirtQueue::Layout layout;
  layout.size = TRY(input.read<std::uint16_t>());
  layout.descriptors = DmaAddr(TRY(input.read<std::uint64_t>()));
  layout.available = DmaAddr(TRY(input.read<std::uint64_t>()));
  layout.used = DmaAddr(TRY(input.read<std::uint64_t>()));
  auto created = VirtQueue::create(driver_.space(), layout, TestDriver::kFeatures);
  if (!created) return {};
  for (int i = 0; i < 4; ++i) {
    const Result<bool> popped = created->pop(chain_);
    if (!popped || !*popped) break;
    check_chain(*created, chain_);
    static_cast<void>(created->push(chain_.head(), 1));
  }
  return {};
}

// Within the queue's three parts and the memory behind them, where tables may lie.
Result<void> Session::write_memory(ByteReader& input) {
  const auto offset = TRY(input.read<std::uint16_t>());
  const auto length = TRY(input.read<std::uint8_t>());
  const std::uint64_t base = driver_.layout_of(0).descriptors.value();
  CHECK(driver_.memory().write(Gpa(base + offset), TRY(input.take(length % 64))));
  return {};
}

Result<void> Session::put_descriptor(ByteReader& input) {
  const auto index = TRY(input.read<std::uint8_t>());
  TestDriver::Descriptor descriptor;
  const auto address = TRY(input.read<std::uint16_t>());
  descriptor.address = driver_.layout_of(0).descriptors.value() + address;
  descriptor.length = TRY(input.read<std::uint32_t>());
  descriptor.flags = TRY(input.read<std::uint8_t>());
  descriptor.next = TRY(input.read<std::uint8_t>());
  driver_.put_descriptor(0, index % queue().size(), descriptor);
  driver_.offer(0, index);
  return {};
}

void Session::pop() {
  const Result<bool> popped = queue().pop(chain_);
  if (popped && *popped) check_chain(queue(), chain_);
}

void Session::save_and_restore() {
  StateWriter writer;
  queue().save(writer);
  StateReader reader(writer.bytes());
  static_cast<void>(queue().restore(reader));
  StateWriter again;
  queue().save(again);
  CHECK(std::ranges::equal(writer.bytes(), again.bytes()));
}

Result<void> Session::step(ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  switch (command % 12) {
    case 0:
      return create(input);
    case 1:
      return write_memory(input);
    case 2:
      return put_descriptor(input);
    case 3:
      driver_.set_available_index(0, TRY(input.read<std::uint16_t>()));
      return {};
    case 4:
      queue().unpop();
      return {};
    case 5:
      static_cast<void>(queue().push(TRY(input.read<std::uint16_t>()), command));
      return {};
    case 6:
      static_cast<void>(queue().wants_interrupt());
      return {};
    case 7:
      static_cast<void>(queue().enable_doorbell());
      return {};
    case 8:
      static_cast<void>(queue().disable_doorbell());
      return {};
    case 9:
      save_and_restore();
      return {};
    case 10: {
      StateReader reader(TRY(input.take(6)));
      static_cast<void>(queue().restore(reader));
      return {};
    }
    default:
      pop();
      return {};
  }
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static TestDriver driver;
  ByteReader input(std::as_bytes(std::span(data, size)));
  const auto choice = input.read<std::uint8_t>();
  if (!choice) return 0;
  Session session(driver, *choice);
  while (session.step(input)) {
  }
  return 0;
}
