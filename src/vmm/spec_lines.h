// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The text form of a launch specification: key=value lines. Writer and reader have the same
// methods, so that one walk over the fields serves both.

namespace bulkhead {

inline constexpr std::array<std::string_view, 2> kSpecBoolNames{"no", "yes"};

// `line` counts from 1; 0 means that the specification as a whole is at fault.
struct SpecError {
  std::string message;
  unsigned line = 0;
};

class SpecWriter {
 public:
  void text(std::string_view key, std::string_view value, std::size_t /*max*/) {
    out_.append(key).append("=").append(value).append("\n");
  }
  template <std::integral N>
  void number(std::string_view key, N value) {
    text(key, std::to_string(value), 0);
  }
  void flag(std::string_view key, bool value) { text(key, kSpecBoolNames[value ? 1 : 0], 0); }
  template <class E, std::size_t N>
  void choice(std::string_view key, E value, const std::array<std::string_view, N>& names) {
    text(key, names[static_cast<std::size_t>(value)], 0);
  }
  template <class T>
  void list(std::string_view key, const std::vector<T>& items, std::size_t /*max*/) {
    number(key, items.size());
  }
  template <class T>
  void optional(std::string_view key, const std::optional<T>& value) {
    flag(key, value.has_value());
  }

  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// The lines of a specification. Reading a field takes its line away; what is left over is unknown.
class SpecReader {
 public:
  explicit SpecReader(SpecError& error) : error_(error) {}

  bool split(std::string_view text);
  bool finish();
  bool failed() const { return failed_; }
  void fail(std::string message, unsigned line = 0);

  void text(std::string_view key, std::string& out, std::size_t max_bytes);
  template <std::integral N>
  void number(std::string_view key, N& out);
  void flag(std::string_view key, bool& out);
  template <class E, std::size_t N>
  void choice(std::string_view key, E& out, const std::array<std::string_view, N>& names);
  template <class T>
  void list(std::string_view key, std::vector<T>& items, std::size_t max_items);
  template <class T>
  void optional(std::string_view key, std::optional<T>& value);

 private:
  struct Line {
    std::string_view key;
    std::string_view value;
    unsigned number = 0;
    bool taken = false;
  };

  bool add_line(std::string_view line, unsigned number);
  Line* find(std::string_view key);
  // The line of a field that must be there, or nullptr after the failure is recorded.
  Line* take(std::string_view key);

  SpecError& error_;
  std::vector<Line> lines_;
  bool failed_ = false;
};

template <std::integral N>
void SpecReader::number(std::string_view key, N& out) {
  const Line* line = take(key);
  if (line == nullptr) return;
  const char* end = line->value.data() + line->value.size();
  const auto [stop, code] = std::from_chars(line->value.data(), end, out);
  if (code != std::errc{} || stop != end) {
    fail(std::string(key) + " is not a number that fits", line->number);
  }
}

template <class E, std::size_t N>
void SpecReader::choice(std::string_view key, E& out,
                        const std::array<std::string_view, N>& names) {
  const Line* line = take(key);
  if (line == nullptr) return;
  const auto found = std::find(names.begin(), names.end(), line->value);
  if (found == names.end()) return fail(std::string(key) + " has no such value", line->number);
  out = static_cast<E>(found - names.begin());
}

template <class T>
void SpecReader::list(std::string_view key, std::vector<T>& items, std::size_t max_items) {
  std::size_t count = 0;
  number(key, count);
  if (count > max_items) return fail("too many " + std::string(key));
  if (!failed_) items.resize(count);
}

template <class T>
void SpecReader::optional(std::string_view key, std::optional<T>& value) {
  bool present = false;
  flag(key, present);
  if (present && !failed_) value.emplace();
}

}  // namespace bulkhead
