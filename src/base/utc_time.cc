// SPDX-License-Identifier: Apache-2.0
#include "base/utc_time.h"

#include <charconv>

namespace bulkhead {
namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::string_view kForm = "0000-00-00T00:00:00Z";  // 0: any digit

bool has_form(std::string_view text) {
  if (text.size() != kForm.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == '0' ? !digit : text[i] != kForm[i]) return false;
  }
  return true;
}

unsigned number_at(std::string_view text, std::size_t offset, std::size_t length) {
  unsigned number = 0;
  std::from_chars(text.data() + offset, text.data() + offset + length, number);
  return number;
}

void put_number(std::string& text, std::size_t offset, std::size_t length, unsigned number) {
  for (std::size_t i = length; i > 0; --i, number /= 10) {
    text[offset + i - 1] = static_cast<char>('0' + number % 10);
  }
}

}  // namespace

std::string to_string(UtcTime time) {
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const year_month_day date(days);
  const std::chrono::hh_mm_ss clock(time - days);
  std::string text(kForm);
  put_number(text, 0, 4, static_cast<unsigned>(static_cast<int>(date.year())));
  put_number(text, 5, 2, static_cast<unsigned>(date.month()));
  put_number(text, 8, 2, static_cast<unsigned>(date.day()));
  put_number(text, 11, 2, static_cast<unsigned>(clock.hours().count()));
  put_number(text, 14, 2, static_cast<unsigned>(clock.minutes().count()));
  put_number(text, 17, 2, static_cast<unsigned>(clock.seconds().count()));
  return text;
}

std::optional<UtcTime> parse_utc_time(std::string_view text) {
  if (!has_form(text)) return std::nullopt;
  const year_month_day date(year(static_cast<int>(number_at(text, 0, 4))),
                            month(number_at(text, 5, 2)), day(number_at(text, 8, 2)));
  const unsigned hours = number_at(text, 11, 2);
  const unsigned minutes = number_at(text, 14, 2);
  const unsigned seconds = number_at(text, 17, 2);
  if (!date.ok() || hours > 23 || minutes > 59 || seconds > 59) return std::nullopt;
  return sys_days(date) + std::chrono::hours(hours) + std::chrono::minutes(minutes) +
         std::chrono::seconds(seconds);
}

}  // namespace bulkhead
