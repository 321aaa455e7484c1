// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/clock.h"
#include "devices/state.h"

namespace bulkhead {

// The real-time clock and CMOS memory of a PC (Motorola MC146818A) at ports 0x70 and 0x71. It shows
// the host's time in UTC, plus what the guest has set it off by. No interrupt is wired to it; alarm
// registers and NVRAM hold what is written.
class Rtc final : public BusDevice, public Stateful {
 public:
  static constexpr std::uint16_t kBasePort = 0x70;
  static constexpr std::uint16_t kPortCount = 2;
  static constexpr std::uint8_t kCenturyIndex = 0x32;  // for the FADT

  explicit Rtc(NanosecondClock clock = realtime_ns);

  std::string_view name() const override { return "rtc"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override EXCLUDES(mutex_);
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override EXCLUDES(mutex_);

  void save(StateWriter& writer) const override EXCLUDES(mutex_);
  Result<void> restore(StateReader& reader) override EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kCells = 128;

  std::uint8_t read_cell() REQUIRES(mutex_);
  std::uint8_t read_a() const REQUIRES(mutex_);
  std::uint8_t read_c() REQUIRES(mutex_);
  void write_cell(std::uint8_t value) REQUIRES(mutex_);
  void write_time_cell(std::uint8_t value) REQUIRES(mutex_);
  void write_b(std::uint8_t value) REQUIRES(mutex_);

  bool set() const REQUIRES(mutex_);  // updates are held off while the guest writes the time
  std::int64_t now_s() const REQUIRES(mutex_);
  // From the clock to the time cells, and the other way round.
  void show_time() REQUIRES(mutex_);
  void adopt_time() REQUIRES(mutex_);
  std::uint8_t encode(unsigned value) const REQUIRES(mutex_);
  std::uint8_t encode_hour(unsigned hour) const REQUIRES(mutex_);
  // An impossible value decodes to more than any field allows.
  unsigned decode(std::uint8_t raw) const REQUIRES(mutex_);
  unsigned decode_hour(std::uint8_t raw) const REQUIRES(mutex_);

  const NanosecondClock clock_;
  mutable Mutex mutex_;
  std::uint8_t index_ GUARDED_BY(mutex_) = 0;
  std::array<std::uint8_t, kCells> cells_ GUARDED_BY(mutex_){};
  std::int64_t offset_s_ GUARDED_BY(mutex_) = 0;  // guest's time less the host's
  std::int64_t seen_s_ GUARDED_BY(mutex_) = 0;    // when register C was last read
};

}  // namespace bulkhead
