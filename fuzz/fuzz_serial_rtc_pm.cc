// SPDX-License-Identifier: Apache-2.0
// Arbitrary port accesses, typed input, power button presses, saving and (hostile) restoring of the
// serial port, the real-time clock, the ACPI block, the reset ports and the pvpanic register.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/byte_reader.h"
#include "base/check.h"
#include "devices/acpi_pm.h"
#include "devices/fakes_for_test.h"
#include "devices/pvpanic.h"
#include "devices/reset_ports.h"
#include "devices/rtc.h"
#include "devices/serial.h"

namespace bulkhead {
namespace {

std::int64_t fuzz_time_ns = 0;
std::int64_t fuzz_time() {
  return fuzz_time_ns;
}

// Forgets output, and counts nothing that could overflow.
class Wiring : public InterruptLine, public ConsoleBackend, public PowerEvents {
 public:
  void set_level(bool) override {}
  void connect(Port, ConsoleInput* input) override { input_ = input; }
  void write(Port, std::span<const std::byte> bytes) override { CHECK(!bytes.empty()); }
  void input_ready(Port) override {}
  void power_off() override {}
  void reset() override {}
  void panicked() override {}
  void crash_loaded() override {}

  void type(std::span<const std::byte> bytes) { CHECK(input_->receive(bytes) <= bytes.size()); }

 private:
  ConsoleInput* input_ = nullptr;
};

struct Machine {
  struct Part {
    BusDevice* device;
    Stateful* state;  // nullptr: has none
    std::uint64_t size;
  };

  Wiring wiring;
  Serial serial{wiring, wiring};
  Rtc rtc{fuzz_time};
  AcpiPm pm{wiring, wiring, fuzz_time};
  ResetControl reset_control{wiring};
  I8042 keyboard{wiring};
  PvpanicRegister pvpanic{wiring};
  std::array<Part, 6> parts = {{
      {&serial, &serial, Serial::kPortCount},
      {&rtc, &rtc, Rtc::kPortCount},
      {&pm, &pm, acpi_pm::kPortCount},
      {&reset_control, &reset_control, 1},
      {&keyboard, &keyboard, I8042::kPortCount},
      {&pvpanic, nullptr, kPageSize},
  }};
};

// What the bus promises: 1 to 8 bytes that lie within the range.
struct Access {
  std::uint64_t offset;
  std::size_t size;
};
Access access_of(std::uint8_t where, std::uint8_t size_code, std::uint64_t range) {
  const std::uint64_t offset = where % range;
  return {offset, std::min<std::uint64_t>(1U << (size_code % 4U), range - offset)};
}

void restore(Machine::Part& part, std::span<const std::byte> bytes) {
  if (part.state == nullptr) return;
  StateReader reader(bytes);
  if (!part.state->restore(reader)) return;
  // What was accepted is a state that can be saved, and restored again.
  const std::vector<std::byte> saved = state_of(*part.state);
  CHECK(restore_state(*part.state, saved));
}

Result<void> step(Machine& machine, ByteReader& input) {
  const auto command = TRY(input.read<std::uint8_t>());
  const auto where = TRY(input.read<std::uint8_t>());
  Machine::Part& part = machine.parts[command / 8 % machine.parts.size()];
  const Access access = access_of(where, command >> 6U, part.size);
  std::array<std::byte, 8> bytes{};
  switch (command % 8) {
    case 0:
    case 1:
      part.device->read(access.offset, std::span(bytes).first(access.size));
      break;
    case 2:
    case 3:
    case 4:
      part.device->write(access.offset, TRY(input.take(access.size)));
      break;
    case 5:
      machine.wiring.type(TRY(input.take(where % 32)));
      break;
    case 6:
      fuzz_time_ns = static_cast<std::int64_t>(TRY(input.read<std::uint64_t>()) >> 1);
      machine.pm.press_power_button();
      break;
    default:
      restore(part, TRY(input.take(where)));
      break;
  }
  return {};
}

}  // namespace
}  // namespace bulkhead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bulkhead::fuzz_time_ns = 0;
  bulkhead::Machine machine;
  bulkhead::ByteReader input(std::as_bytes(std::span(data, size)));
  // Ends with the input: each step takes some of it, or fails.
  while (bulkhead::step(machine, input)) {
  }
  return 0;
}
