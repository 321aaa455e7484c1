// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

// One event, one line on standard error, key=value. Never keys, plaintext or page contents.
// Lines that a guest can cause go through a LogLimiter.

namespace bulkhead {

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

// A key with a text, a number or an address (printed in hexadecimal).
class LogField {
 public:
  LogField(std::string_view key, std::string_view text) : key_(key), text_(text) {}
  LogField(std::string_view key, const char* text) : key_(key), text_(text) {}
  template <std::integral N>
  LogField(std::string_view key, N number)
      : key_(key),
        number_(static_cast<std::uint64_t>(number)),
        kind_(std::signed_integral<N> ? Kind::kSigned : Kind::kUnsigned) {}
  template <class K>
  LogField(std::string_view key, Address<K> address)
      : key_(key), number_(address.value()), kind_(Kind::kHex) {}

  std::size_t format(char* out, std::size_t capacity) const;

 private:
  enum class Kind : std::uint8_t { kText, kSigned, kUnsigned, kHex };

  std::string_view key_;
  std::string_view text_;
  std::uint64_t number_ = 0;
  Kind kind_ = Kind::kText;
};

using LogFields = std::initializer_list<LogField>;

void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

void log_event(LogLevel level, std::string_view event, LogFields fields = {});
void log_error(std::string_view event, LogFields fields = {});
void log_warning(std::string_view event, LogFields fields = {});
void log_info(std::string_view event, LogFields fields = {});
void log_debug(std::string_view event, LogFields fields = {});
// The error's text, code and errno follow the given fields.
void log_failure(std::string_view event, const Error& error, LogFields fields = {});

// Lets through a few lines a second per instance, and counts the rest. Thread-safe.
class LogLimiter {
 public:
  // Whether the caller may log now.
  bool allow();
  std::uint64_t suppressed() const { return suppressed_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kLinesPerSecond = 5;

  std::atomic<std::int64_t> window_s_ = -1;
  std::atomic<std::uint32_t> used_ = 0;
  std::atomic<std::uint64_t> suppressed_ = 0;
};

}  // namespace bulkhead
