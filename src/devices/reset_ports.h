// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/power_events.h"
#include "devices/state.h"

// The two ways to reset a PC that are older than ACPI's reset register.

namespace bulkhead {

// The reset control register of PC chipsets, one byte at port 0xcf9: bit 2 going from 0 to 1
// resets. (Intel ICH/PCH datasheets, "RST_CNT".) The PCI root, whose ports lie around it, passes it
// on.
class ResetControl final : public BusDevice, public Stateful {
 public:
  static constexpr std::uint16_t kPort = 0xcf9;

  explicit ResetControl(PowerEvents& events) : events_(events) {}

  std::string_view name() const override { return "reset-control"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  PowerEvents& events_;
  mutable Mutex mutex_;
  std::uint8_t value_ GUARDED_BY(mutex_) = 0;
};

// Just enough of a keyboard controller (ports 0x60 to 0x64) to reset by it, and to be recognised
// quickly as holding no keyboard: it offers a short run of meaningless bytes, more than Linux's
// i8042_flush() accepts of a real one, and few enough for drivers that read until none is left.
// The FADT says that there is none (IAPC_BOOT_ARCH bit 1 clear): drivers that look need no probe.
class I8042 final : public BusDevice, public Stateful {
 public:
  static constexpr std::uint16_t kBasePort = 0x60;
  static constexpr std::uint16_t kPortCount = 5;

  explicit I8042(PowerEvents& events) : events_(events) {}

  std::string_view name() const override { return "i8042"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  // Linux's buffer for what it flushes holds 16 bytes.
  static constexpr std::uint8_t kMeaninglessBytes = 32;

  std::uint8_t read_port(std::uint64_t offset) REQUIRES(mutex_);

  PowerEvents& events_;
  mutable Mutex mutex_;
  std::uint8_t pending_ GUARDED_BY(mutex_) = kMeaninglessBytes;
};

}  // namespace bulkhead
