// SPDX-License-Identifier: Apache-2.0
#include "devices/rtc.h"

#include <algorithm>
#include <chrono>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

// Cells (MC146818A data sheet, "Address Map"); 1, 3 and 5 are the alarm's.
constexpr std::uint8_t kSeconds = 0;
constexpr std::uint8_t kMinutes = 2;
constexpr std::uint8_t kHours = 4;
constexpr std::uint8_t kWeekday = 6;  // 1 is Sunday
constexpr std::uint8_t kDay = 7;
constexpr std::uint8_t kMonth = 8;
constexpr std::uint8_t kYear = 9;
constexpr std::uint8_t kA = 10;
constexpr std::uint8_t kB = 11;
constexpr std::uint8_t kC = 12;
constexpr std::uint8_t kD = 13;

constexpr std::uint8_t kUpdateInProgress = 1U << 7;  // A
constexpr std::uint8_t kDivider = 0x26;             // A: 32.768 kHz, 1024 Hz, as firmware leaves it
constexpr std::uint8_t kSet = 1U << 7;              // B
constexpr std::uint8_t kUpdateInterrupt = 1U << 4;  // B: UIE, and C: UF
constexpr std::uint8_t kBinary = 1U << 2;           // B: DM
constexpr std::uint8_t k24Hours = 1U << 1;          // B
constexpr std::uint8_t kInterruptRequest = 1U << 7;  // C: IRQF
constexpr std::uint8_t kValid = 1U << 7;             // D: VRT
constexpr std::uint8_t kPm = 1U << 7;                // hours, in 12-hour mode
// UIP rises this long before an update ("Update Cycle"): time enough to read all cells.
constexpr std::int64_t kUpdateWarningNs = 244'000;

constexpr unsigned kInvalid = 255;  // more than any field allows, and fits month and day
constexpr int kMaxYear = 9999;
// More than the guest can set the clock off by, with years from 0 to 9999.
constexpr std::int64_t kMaxOffset = 11'000LL * 366 * 86'400;

bool is_time_cell(std::uint8_t index) {
  return index == kSeconds || index == kMinutes || index == kHours ||
         (index >= kWeekday && index <= kYear) || index == Rtc::kCenturyIndex;
}

}  // namespace

Rtc::Rtc(NanosecondClock clock) : clock_(clock) {
  cells_[kA] = kDivider;
  cells_[kB] = k24Hours;
}

bool Rtc::set() const {
  return (cells_[kB] & kSet) != 0;
}

std::int64_t Rtc::now_s() const {
  return clock_() / kNanosecondsPerSecond + offset_s_;
}

std::uint8_t Rtc::encode(unsigned value) const {
  if ((cells_[kB] & kBinary) != 0) return static_cast<std::uint8_t>(value);
  return static_cast<std::uint8_t>(value / 10 << 4 | value % 10);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
  if ((cells_[kB] & k24Hours) != 0) return encode(hour);
  const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? kPm : 0));
}

unsigned Rtc::decode(std::uint8_t raw) const {
  if ((cells_[kB] & kBinary) != 0) return raw;
  const unsigned tens = raw >> 4U;
  const unsigned ones = raw & 0xfU;
  return tens > 9 || ones > 9 ? kInvalid : tens * 10 + ones;
}

unsigned Rtc::decode_hour(std::uint8_t raw) const {
  if ((cells_[kB] & k24Hours) != 0) return decode(raw);
  const unsigned twelve = decode(raw & static_cast<std::uint8_t>(~kPm));
  if (twelve < 1 || twelve > 12) return kInvalid;
  return twelve % 12 + ((raw & kPm) != 0 ? 12 : 0);
}

void Rtc::show_time() {
  using namespace std::chrono;
  const sys_seconds now{seconds{now_s()}};
  const sys_days today = floor<days>(now);
  const year_month_day date{today};
  const hh_mm_ss time{now - today};
  const auto year = static_cast<unsigned>(std::clamp(int{date.year()}, 0, kMaxYear));
  cells_[kSeconds] = encode(static_cast<unsigned>(time.seconds().count()));
  cells_[kMinutes] = encode(static_cast<unsigned>(time.minutes().count()));
  cells_[kHours] = encode_hour(static_cast<unsigned>(time.hours().count()));
  cells_[kWeekday] = encode(weekday{today}.c_encoding() + 1);
  cells_[kDay] = encode(unsigned{date.day()});
  cells_[kMonth] = encode(unsigned{date.month()});
  cells_[kYear] = encode(year % 100);
  cells_[kCenturyIndex] = encode(year / 100);
}

// An impossible time is not adopted: the clock goes on as before. The weekday follows the date.
void Rtc::adopt_time() {
  using namespace std::chrono;
  const unsigned century = decode(cells_[kCenturyIndex]);
  const unsigned year_of_century = decode(cells_[kYear]);
  const unsigned hour = decode_hour(cells_[kHours]);
  const unsigned minute = decode(cells_[kMinutes]);
  const unsigned second = decode(cells_[kSeconds]);
  if (century > 99 || year_of_century > 99 || hour > 23 || minute > 59 || second > 59) return;
  const year_month_day date{year{static_cast<int>(century * 100 + year_of_century)},
                            month{decode(cells_[kMonth])}, day{decode(cells_[kDay])}};
  if (!date.ok()) return;
  const sys_seconds time = sys_days{date} + hours{hour} + minutes{minute} + seconds{second};
  offset_s_ = time.time_since_epoch().count() - clock_() / kNanosecondsPerSecond;
}

std::uint8_t Rtc::read_a() const {
  const bool about_to_update =
      clock_() % kNanosecondsPerSecond >= kNanosecondsPerSecond - kUpdateWarningNs;
  const bool in_progress = !set() && about_to_update;
  return static_cast<std::uint8_t>(cells_[kA] | (in_progress ? kUpdateInProgress : 0));
}

// "Update ended" since the last read; periodic and alarm flags never rise.
std::uint8_t Rtc::read_c() {
  const std::int64_t now = now_s();
  if (set() || now == seen_s_) return 0;
  seen_s_ = now;
  const bool enabled = (cells_[kB] & kUpdateInterrupt) != 0;
  return static_cast<std::uint8_t>(kUpdateInterrupt | (enabled ? kInterruptRequest : 0));
}

std::uint8_t Rtc::read_cell() {
  if (index_ == kA) return read_a();
  if (index_ == kC) return read_c();
  if (index_ == kD) return kValid;
  if (is_time_cell(index_) && !set()) show_time();
  return cells_[index_];
}

void Rtc::write_time_cell(std::uint8_t value) {
  if (!set()) show_time();
  cells_[index_] = value;
  if (!set()) adopt_time();
}

void Rtc::write_b(std::uint8_t value) {
  const bool was_set = set();
  if (!was_set && (value & kSet) != 0) show_time();
  cells_[kB] = value;
  if (was_set && !set()) adopt_time();
}

void Rtc::write_cell(std::uint8_t value) {
  if (index_ == kC || index_ == kD) return;  // read-only
  if (index_ == kB) return write_b(value);
  if (is_time_cell(index_)) return write_time_cell(value);
  const bool is_a = index_ == kA;
  cells_[index_] = is_a ? value & static_cast<std::uint8_t>(~kUpdateInProgress) : value;
}

void Rtc::read(std::uint64_t offset, std::span<std::byte> bytes) {
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    // The index cannot be read back.
    bytes[i] = std::byte{offset + i == 1 ? read_cell() : std::uint8_t{0xff}};
  }
}

void Rtc::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto value = std::to_integer<std::uint8_t>(bytes[i]);
    if (offset + i == 0) index_ = value % kCells;  // bit 7 would mask NMIs: there are none
    if (offset + i == 1) write_cell(value);
  }
}

void Rtc::save(StateWriter& writer) const {
  MutexLock lock(mutex_);
  writer.put(kStateVersion);
  writer.put(index_);
  writer.put_bytes(std::as_bytes(std::span(cells_)));
  writer.put(offset_s_);
  writer.put(seen_s_);
}

Result<void> Rtc::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the real-time clock: other version"};
  }
  const auto index = TRY(reader.get<std::uint8_t>());
  std::array<std::uint8_t, kCells> cells{};
  TRY(reader.get_bytes(std::as_writable_bytes(std::span(cells))));
  const auto offset_s = TRY(reader.get<std::int64_t>());
  const auto seen_s = TRY(reader.get<std::int64_t>());
  if (index >= kCells || (cells[kA] & kUpdateInProgress) != 0 || offset_s < -kMaxOffset ||
      offset_s > kMaxOffset) {
    return Error{Errc::kMalformed, 0, "state of the real-time clock: impossible values"};
  }
  MutexLock lock(mutex_);
  index_ = index;
  cells_ = cells;
  offset_s_ = offset_s;
  seen_s_ = seen_s;
  return {};
}

}  // namespace bulkhead
