// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace bulkhead {
namespace {

std::atomic<LogLevel> log_level = LogLevel::kInfo;

constexpr std::size_t kLineBytes = 1024;

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "?";
}

// A line under construction; what does not fit is cut.
class Line {
 public:
  void append(const LogField& field) {
    if (used_ > 0) push(' ');
    used_ += field.format(text_ + used_, kLineBytes - used_);
  }

  void write_out() {
    text_[used_++] = '\n';
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, text_, used_);
  }

 private:
  void push(char c) {
    if (used_ < kLineBytes) text_[used_++] = c;
  }

  char text_[kLineBytes + 1];
  std::size_t used_ = 0;
};

void write_line(LogLevel level, std::string_view event, LogFields fields, const Error* error) {
  if (!log_enabled(level)) return;
  Line line;
  line.append({"level", level_name(level)});
  line.append({"event", event});
  for (const LogField& field : fields) line.append(field);
  if (error != nullptr) {
    line.append({"error", error->what});
    line.append({"code", to_string(error->code)});
    if (error->os_errno != 0) line.append({"errno", strerrorname_np(error->os_errno)});
  }
  line.write_out();
}

// Text is quoted when it would not read as one word, and control characters never reach the line.
std::size_t format_text(char* out, std::size_t capacity, std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=';
  });
  std::size_t used = 0;
  auto push = [&](char c) {
    if (used < capacity) out[used++] = c;
  };
  if (!plain) push('"');
  for (char c : text) push(c >= ' ' && c < 0x7f && c != '"' ? c : '?');
  if (!plain) push('"');
  return used;
}

}  // namespace

std::size_t LogField::format(char* out, std::size_t capacity) const {
  std::size_t used = std::min(capacity, key_.size());
  std::memcpy(out, key_.data(), used);
  if (used < capacity) out[used++] = '=';
  if (kind_ == Kind::kText) return used + format_text(out + used, capacity - used, text_);
  char number[24];
  int length = 0;
  switch (kind_) {
    case Kind::kSigned:
      length = std::snprintf(number, sizeof number, "%" PRId64, static_cast<std::int64_t>(number_));
      break;
    case Kind::kHex:
      length = std::snprintf(number, sizeof number, "0x%" PRIx64, number_);
      break;
    default:
      length = std::snprintf(number, sizeof number, "%" PRIu64, number_);
      break;
  }
  const std::size_t copied = std::min(capacity - used, static_cast<std::size_t>(length));
  std::memcpy(out + used, number, copied);
  return used + copied;
}

void set_log_level(LogLevel level) {
  log_level.store(level, std::memory_order_relaxed);
}

bool log_enabled(LogLevel level) {
  return level <= log_level.load(std::memory_order_relaxed);
}

void log_event(LogLevel level, std::string_view event, LogFields fields) {
  write_line(level, event, fields, nullptr);
}
void log_error(std::string_view event, LogFields fields) {
  write_line(LogLevel::kError, event, fields, nullptr);
}
void log_warning(std::string_view event, LogFields fields) {
  write_line(LogLevel::kWarning, event, fields, nullptr);
}
void log_info(std::string_view event, LogFields fields) {
  write_line(LogLevel::kInfo, event, fields, nullptr);
}
void log_debug(std::string_view event, LogFields fields) {
  write_line(LogLevel::kDebug, event, fields, nullptr);
}
void log_failure(std::string_view event, const Error& error, LogFields fields) {
  write_line(LogLevel::kError, event, fields, &error);
}

bool LogLimiter::allow() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  // Two threads may both open a new window: a few lines more, never unbounded.
  if (window_s_.exchange(now.tv_sec, std::memory_order_relaxed) != now.tv_sec) {
    used_.store(0, std::memory_order_relaxed);
  }
  if (used_.fetch_add(1, std::memory_order_relaxed) < kLinesPerSecond) return true;
  suppressed_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace bulkhead
