// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/clock.h"
#include "devices/interrupts.h"
#include "devices/power_events.h"
#include "devices/state.h"

namespace bulkhead {

// Where the fixed hardware of ACPI lies, for the bus and for the FADT (ACPI 6.5 §4.8, §5.2.9).
// There is no SMI command port: the machine is in ACPI mode from the start (SCI_EN reads as 1).
namespace acpi_pm {

inline constexpr std::uint16_t kBasePort = 0x600;
inline constexpr std::uint16_t kPortCount = 16;
inline constexpr std::uint16_t kPm1aEventPort = 0x600;  // PM1_STS, then PM1_EN
inline constexpr std::uint8_t kPm1aEventLength = 4;
inline constexpr std::uint16_t kPm1aControlPort = 0x604;
inline constexpr std::uint8_t kPm1aControlLength = 2;
inline constexpr std::uint16_t kTimerPort = 0x608;  // 32 bits wide: the FADT sets TMR_VAL_EXT
inline constexpr std::uint8_t kTimerLength = 4;
inline constexpr std::uint16_t kResetPort = 0x60c;  // a byte
inline constexpr std::uint8_t kResetValue = 1;
inline constexpr std::uint8_t kSleepTypeS5 = 5;  // SLP_TYPa of \_S5; no other state is offered
inline constexpr std::uint32_t kSciGsi = 9;      // level-triggered, active high
inline constexpr std::uint64_t kTimerHz = 3'579'545;

}  // namespace acpi_pm

// PM1a event and control registers with a power button, the PM timer, the reset register.
// TMR_STS never rises: a guest that reads the timer at least twice per wrap (20 minutes) needs
// none.
class AcpiPm final : public BusDevice, public Stateful {
 public:
  AcpiPm(InterruptLine& sci, PowerEvents& events, NanosecondClock clock = monotonic_ns);

  // Asks the guest to shut down. Any thread.
  void press_power_button() EXCLUDES(mutex_);

  std::string_view name() const override { return "acpi-pm"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  enum class Request : std::uint8_t { kNone, kPowerOff, kReset };

  Request write_byte(std::uint64_t offset, std::uint8_t value) REQUIRES(mutex_);
  Request write_control_high(std::uint8_t value) REQUIRES(mutex_);
  void update_sci() REQUIRES(mutex_);
  std::uint32_t timer() const REQUIRES(mutex_);

  InterruptLine& sci_;
  PowerEvents& events_;
  const NanosecondClock clock_;
  mutable Mutex mutex_;
  std::uint16_t status_ GUARDED_BY(mutex_) = 0;
  std::uint16_t enable_ GUARDED_BY(mutex_) = 0;
  std::uint16_t control_ GUARDED_BY(mutex_);
  bool sci_high_ GUARDED_BY(mutex_) = false;
  std::uint32_t timer_offset_ GUARDED_BY(mutex_) = 0;  // keeps the timer going over a restore
};

}  // namespace bulkhead
