// SPDX-License-Identifier: Apache-2.0
#include "devices/reset_ports.h"

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

Result<void> check_version(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) == kStateVersion) return {};
  return Error{Errc::kUnsupported, 0, "state of a reset port: other version"};
}

// RST_CNT: full reset, CPU reset, system reset.
constexpr std::uint8_t kResetBits = 0b1110;
constexpr std::uint8_t kResetCpu = 1U << 2;

// The keyboard controller's ports, from its base.
constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kStatusAndCommand = 4;
// Status: output buffer full. "Input buffer full" stays clear: Linux waits for that before it
// resets.
constexpr std::uint8_t kOutputFull = 1U << 0;

// Commands 0xf0 to 0xff pulse the output lines whose bits are 0; bit 0 is the reset line.
bool pulses_reset(std::byte command) {
  return (std::to_integer<unsigned>(command) & 0xf1U) == 0xf0U;
}

}  // namespace

void ResetControl::read(std::uint64_t /*offset*/, std::span<std::byte> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  MutexLock lock(mutex_);
  if (!bytes.empty()) bytes[0] = std::byte{value_};
}

void ResetControl::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  bool reset = false;
  {
    MutexLock lock(mutex_);
    const auto value = std::to_integer<std::uint8_t>(bytes[0]);
    reset = (value & ~value_ & kResetCpu) != 0;
    value_ = value & kResetBits;
  }
  if (reset) events_.reset();
}

void ResetControl::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(value_);
}

Result<void> ResetControl::restore(StateReader& reader) {
  TRY(check_version(reader));
  const auto value = TRY(reader.get<std::uint8_t>());
  MutexLock lock(mutex_);
  value_ = value & kResetBits;
  return {};
}

std::uint8_t I8042::read_port(std::uint64_t offset) {
  if (offset == kStatusAndCommand) return pending_ > 0 ? kOutputFull : 0;
  if (offset != kData) return 0xff;  // not ours: as if nobody were there
  if (pending_ > 0) --pending_;
  return 0xff;
}

void I8042::read(std::uint64_t offset, std::span<std::byte> bytes) {
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte{read_port(offset + i)};
}

void I8042::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset != kStatusAndCommand || bytes.empty()) return;
  if (pulses_reset(bytes[0])) events_.reset();
}

void I8042::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(pending_);
}

Result<void> I8042::restore(StateReader& reader) {
  TRY(check_version(reader));
  const auto pending = TRY(reader.get<std::uint8_t>());
  if (pending > kMeaninglessBytes) {
    return Error{Errc::kMalformed, 0, "state of the keyboard controller: impossible values"};
  }
  MutexLock lock(mutex_);
  pending_ = pending;
  return {};
}

}  // namespace bulkhead
