// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/bus.h"
#include "devices/console_backend.h"
#include "devices/interrupts.h"
#include "devices/power_events.h"
#include "devices/state.h"

// For unit tests and fuzz targets only: what the simple devices are wired to.

namespace bulkhead {

class FakeLine : public InterruptLine {
 public:
  void set_level(bool value) override {
    if (value && !high) ++edges;
    high = value;
  }

  bool high = false;
  int edges = 0;  // from low to high
};

class FakePower : public PowerEvents {
 public:
  void power_off() override { ++power_offs; }
  void reset() override { ++resets; }
  void panicked() override { ++panics; }
  void crash_loaded() override { ++crashes_loaded; }
  int total() const { return power_offs + resets + panics + crashes_loaded; }

  int power_offs = 0;
  int resets = 0;
  int panics = 0;
  int crashes_loaded = 0;
};

// Offers `typed` to the guest's console that is connected, as far as it takes it.
class FakeConsole : public ConsoleBackend {
 public:
  void connect(Port, ConsoleInput* input) override { input_ = input; }
  void write(Port, std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) output.push_back(static_cast<char>(byte));
    ++writes;
  }
  void input_ready(Port) override { ++ready_calls; }

  bool connected() const { return input_ != nullptr; }
  std::size_t type(std::string_view text) {
    return input_->receive(std::as_bytes(std::span(text)));
  }

  std::string output;
  int writes = 0;
  int ready_calls = 0;

 private:
  ConsoleInput* input_ = nullptr;
};

// Accesses of one size at an offset of a device.
template <class T>
T device_read(BusDevice& device, std::uint64_t offset) {
  T value{};
  device.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
template <class T>
void device_write(BusDevice& device, std::uint64_t offset, T value) {
  device.write(offset, std::as_bytes(std::span(&value, 1)));
}

inline std::vector<std::byte> state_of(const Stateful& device) {
  StateWriter writer;
  device.save(writer);
  return {writer.bytes().begin(), writer.bytes().end()};
}
inline Result<void> restore_state(Stateful& device, std::span<const std::byte> state) {
  StateReader reader(state);
  return device.restore(reader);
}

}  // namespace bulkhead
