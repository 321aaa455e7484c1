// SPDX-License-Identifier: Apache-2.0
#include "devices/acpi_pm.h"

#include <array>
#include <span>

#include "base/byte_reader.h"
#include "base/log.h"

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

// Offsets from the base port.
constexpr std::uint64_t kStatus = acpi_pm::kPm1aEventPort - acpi_pm::kBasePort;
constexpr std::uint64_t kEnable = kStatus + acpi_pm::kPm1aEventLength / 2;
constexpr std::uint64_t kControl = acpi_pm::kPm1aControlPort - acpi_pm::kBasePort;
constexpr std::uint64_t kTimer = acpi_pm::kTimerPort - acpi_pm::kBasePort;
constexpr std::uint64_t kReset = acpi_pm::kResetPort - acpi_pm::kBasePort;

// PM1 status and enable (ACPI 6.5 §4.8.3.1): GBL, PWRBTN, SLPBTN, RTC. The timer's bit never rises.
constexpr std::uint16_t kEvents = 1U << 5 | 1U << 8 | 1U << 9 | 1U << 10;
constexpr std::uint16_t kPowerButton = 1U << 8;
// PM1 control (§4.8.3.2). SLP_EN and GBL_RLS are write-only.
constexpr std::uint16_t kSciEnable = 1U << 0;
constexpr std::uint8_t kBusMasterReload = 1U << 1;
constexpr std::uint8_t kSleepTypeMask = 0b111U << 2;  // in the high byte
constexpr std::uint8_t kSleepEnable = 1U << 5;        // in the high byte
constexpr std::uint16_t kControlReadable = kSciEnable | kBusMasterReload | kSleepTypeMask << 8;

// The byte of a 16-bit register at an odd or even offset, replaced.
std::uint16_t with_byte(std::uint16_t whole, std::uint64_t offset, std::uint8_t value) {
  const unsigned shift = offset % 2 == 0 ? 0 : 8;
  return static_cast<std::uint16_t>((whole & ~(0xffU << shift)) | unsigned{value} << shift);
}

// The seconds apart, so that the product stays within 64 bits for centuries.
std::uint32_t ticks_of(std::int64_t ns) {
  const auto time = static_cast<std::uint64_t>(ns);
  const std::uint64_t seconds = time / kNanosecondsPerSecond;
  const std::uint64_t rest = time % kNanosecondsPerSecond;
  return static_cast<std::uint32_t>(seconds * acpi_pm::kTimerHz +
                                    rest * acpi_pm::kTimerHz / kNanosecondsPerSecond);
}

}  // namespace

AcpiPm::AcpiPm(InterruptLine& sci, PowerEvents& events, NanosecondClock clock)
    : sci_(sci), events_(events), clock_(clock), control_(kSciEnable) {}

void AcpiPm::press_power_button() {
  MutexLock lock(mutex_);
  status_ |= kPowerButton;
  update_sci();
}

std::uint32_t AcpiPm::timer() const {
  return ticks_of(clock_()) + timer_offset_;
}

void AcpiPm::read(std::uint64_t offset, std::span<std::byte> bytes) {
  std::array<std::byte, acpi_pm::kPortCount> image{};
  {
    MutexLock lock(mutex_);
    put_le(image, kStatus, status_);
    put_le(image, kEnable, enable_);
    put_le(image, kControl, control_);
    put_le(image, kTimer, timer());
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = range_fits(offset, i + 1, image.size()) ? image[offset + i] : std::byte{0};
  }
}

void AcpiPm::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  Request request = Request::kNone;
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < bytes.size() && request == Request::kNone; ++i) {
      request = write_byte(offset + i, std::to_integer<std::uint8_t>(bytes[i]));
    }
    update_sci();
  }
  if (request == Request::kPowerOff) events_.power_off();
  if (request == Request::kReset) events_.reset();
}

AcpiPm::Request AcpiPm::write_byte(std::uint64_t offset, std::uint8_t value) {
  switch (offset) {
    case kStatus:
    case kStatus + 1:  // a one clears
      status_ &= static_cast<std::uint16_t>(~with_byte(0, offset, value));
      return Request::kNone;
    case kEnable:
    case kEnable + 1:
      enable_ = with_byte(enable_, offset, value) & kEvents;
      return Request::kNone;
    case kControl:
      control_ = static_cast<std::uint16_t>((control_ & ~kBusMasterReload) |
                                            (value & kBusMasterReload) | kSciEnable);
      return Request::kNone;
    case kControl + 1:
      return write_control_high(value);
    case kReset:
      return value == acpi_pm::kResetValue ? Request::kReset : Request::kNone;
    default:
      return Request::kNone;
  }
}

AcpiPm::Request AcpiPm::write_control_high(std::uint8_t value) {
  control_ = with_byte(control_, kControl + 1, value & kSleepTypeMask);
  const bool s5 = (value & kSleepTypeMask) >> 2 == acpi_pm::kSleepTypeS5;
  return s5 && (value & kSleepEnable) != 0 ? Request::kPowerOff : Request::kNone;
}

void AcpiPm::update_sci() {
  const bool high = (status_ & enable_) != 0;
  if (high == sci_high_) return;
  sci_high_ = high;
  sci_.set_level(high);
}

void AcpiPm::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(status_);
  writer.put(enable_);
  writer.put(control_);
  writer.put(timer());
}

Result<void> AcpiPm::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the power management block: other version"};
  }
  const auto status = TRY(reader.get<std::uint16_t>());
  const auto enable = TRY(reader.get<std::uint16_t>());
  const auto control = TRY(reader.get<std::uint16_t>());
  const auto ticks = TRY(reader.get<std::uint32_t>());
  const bool possible = (status & ~kEvents) == 0 && (enable & ~kEvents) == 0 &&
                        (control & ~kControlReadable) == 0 && (control & kSciEnable) != 0;
  if (!possible) {
    return Error{Errc::kMalformed, 0, "state of the power management block: impossible values"};
  }
  MutexLock lock(mutex_);
  status_ = status;
  enable_ = enable;
  control_ = control;
  timer_offset_ += ticks - timer();
  // The line's level is not part of our state: set it whatever it was.
  sci_high_ = (status_ & enable_) != 0;
  sci_.set_level(sci_high_);
  return {};
}

}  // namespace bulkhead
