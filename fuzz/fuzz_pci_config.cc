// SPDX-License-Identifier: Apache-2.0
// A hostile guest on a PCI bus with one virtio function: arbitrary accesses to configuration ports,
// ECAM and BARs, queues, doorbells, and restored state.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/log.h"
#include "devices/pci/fakes_for_test.h"
#include "devices/pci/register_function.h"
#include "devices/pci/root.h"
#include "devices/virtio/device_for_test.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/pci_transport.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kWindow = 0x8'0000'0000;
constexpr std::uint64_t kBarSize = 0x8000;
constexpr std::uint16_t kQueueSize = 8;

class Session {
 public:
  explicit Session(TestDriver& driver, EventLoop& loop);
  Result<void> step(ByteReader& input);

 private:
  Result<void> access(BusDevice& device, std::uint64_t offset, ByteReader& input);
  Result<void> access_mmio(std::uint64_t address, ByteReader& input);
  void start_driver();
  void poke(std::uint64_t offset, std::size_t size, std::uint64_t value);
  Result<void> put_descriptor(ByteReader& input);
  Result<void> restore(ByteReader& input);

  TestDriver& driver_;
  EventLoop& loop_;
  FakeMsiController msi_;
  FakeDoorbellController doorbells_;
  Bus mmio_{std::uint64_t{1} << 40};
  FakeRegisters registers_;
  FakeVirtioDevice device_;
  std::unique_ptr<VirtioPciFunction> function_;
  PciRegisterFunction simple_{{.vendor = 1, .device = 2}, mmio_, registers_, 16};
  PciRoot root_{mmio_};
};

Session::Session(TestDriver& driver, EventLoop& loop) : driver_(driver), loop_(loop) {
  const std::array<std::uint16_t, 2> sizes{kQueueSize, kQueueSize};
  driver_.layout(sizes, TestDriver::kFeatures);
  function_ = VirtioPciFunction::create(device_, {.dma = driver_.space(),
                                                  .loop = loop_,
                                                  .msi = msi_,
                                                  .doorbells = doorbells_,
                                                  .mmio = mmio_})
                  .value();
  CHECK(root_.add(*function_));
  CHECK(root_.add(simple_));
  CHECK(root_.assign_resources({.mem32 = {0xc0000000, 0x1000}, .mem64 = {kWindow, kBarSize}}));
}

Result<void> Session::access(BusDevice& device, std::uint64_t offset, ByteReader& input) {
  const auto choice = TRY(input.read<std::uint8_t>());
  const std::size_t size = 1 + choice % 8;
  if (choice < 128) {
    std::array<std::byte, 8> bytes{};
    device.read(offset, std::span(bytes).first(size));
  } else {
    device.write(offset, TRY(input.take(size)));
  }
  return {};
}

Result<void> Session::access_mmio(std::uint64_t address, ByteReader& input) {
  const auto choice = TRY(input.read<std::uint8_t>());
  const std::size_t size = std::size_t{1} << choice % 4;
  if (choice < 128) {
    std::array<std::byte, 8> bytes{};
    mmio_.read(address, std::span(bytes).first(size));
  } else if (!doorbells_.write(address)) {
    mmio_.write(address, TRY(input.take(size)));
  }
  return {};
}

void Session::poke(std::uint64_t offset, std::size_t size, std::uint64_t value) {
  mmio_.write(kWindow + offset, std::as_bytes(std::span(&value, 1)).first(size));
}

// What a proper driver does: random bytes seldom get that far.
void Session::start_driver() {
  const std::uint16_t command = pci::kCommandMemory | pci::kCommandBusMaster;
  write_config<std::uint16_t>(*function_, pci::kCommand, command);
  for (const std::uint64_t status : {0u, 1u, 3u}) poke(20, 1, status);
  poke(8, 4, 1);
  poke(12, 4, 1);
  poke(20, 1, 11);
  for (std::uint16_t i = 0; i < 2; ++i) {
    const VirtQueue::Layout layout = driver_.layout_of(i);
    poke(22, 2, i);
    poke(24, 2, layout.size);
    poke(26, 2, i);
    poke(32, 8, layout.descriptors.value());
    poke(40, 8, layout.available.value());
    poke(48, 8, layout.used.value());
    poke(28, 2, 1);
  }
  poke(20, 1, 15);
}

Result<void> Session::put_descriptor(ByteReader& input) {
  const auto index = TRY(input.read<std::uint8_t>());
  const auto flags = TRY(input.read<std::uint16_t>());
  const auto next = TRY(input.read<std::uint8_t>());
  const std::uint64_t address = driver_.layout_of(0).descriptors.value() + 16 * (next % 8);
  driver_.put_descriptor(index % 2, index % kQueueSize, {address, 16, flags, next});
  driver_.offer(index % 2, index / 2);
  return {};
}

// The state as it is, with one byte changed.
Result<void> Session::restore(ByteReader& input) {
  StateWriter writer;
  root_.save(writer);
  std::vector<std::byte> bytes(writer.bytes().begin(), writer.bytes().end());
  const auto position = TRY(input.read<std::uint16_t>());
  bytes[position % bytes.size()] ^= static_cast<std::byte>(TRY(input.read<std::uint8_t>()));
  StateReader reader(bytes);
  static_cast<void>(root_.restore(reader));
  return {};
}

Result<void> Session::step(ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  switch (command % 10) {
    case 0:
    case 1:
      return access(root_.ecam(), TRY(input.read<std::uint32_t>()) % PciRoot::kEcamSize, input);
    case 2:
      return access(root_.ecam(), 1 << 15 | TRY(input.read<std::uint8_t>()), input);
    case 3:
    case 4:
      return access_mmio(kWindow + TRY(input.read<std::uint16_t>()) % kBarSize, input);
    case 5:
      return access_mmio(TRY(input.read<std::uint64_t>()), input);
    case 6:
      start_driver();
      return {};
    case 7:
      return put_descriptor(input);
    case 8:
      return command < 128 ? restore(input) : loop_.run_once(0);
    default:
      if (device_.active()) device_.interrupts().config_changed();
      return loop_.run_once(0);
  }
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead;
  static TestDriver driver;
  static const std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  set_log_level(LogLevel::kError);
  ByteReader input(std::as_bytes(std::span(data, size)));
  Session session(driver, *loop);
  while (session.step(input)) {
  }
  return 0;
}
