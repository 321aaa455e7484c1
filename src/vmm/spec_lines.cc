// SPDX-License-Identifier: Apache-2.0
#include "vmm/spec_lines.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxLines = 256;

}  // namespace

// The first failure is the one worth telling.
void SpecReader::fail(std::string message, unsigned line) {
  if (std::exchange(failed_, true)) return;
  error_ = SpecError{std::move(message), line};
}

bool SpecReader::split(std::string_view text) {
  unsigned number = 0;
  while (!text.empty() && !failed_) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) {
      fail("the last line is not terminated", number + 1);
    } else {
      add_line(text.substr(0, end), ++number);
      text.remove_prefix(end + 1);
    }
  }
  return !failed_;
}

bool SpecReader::add_line(std::string_view line, unsigned number) {
  const std::size_t equals = line.find('=');
  const bool clean = std::none_of(line.begin(), line.end(),
                                  [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
  if (lines_.size() >= kMaxLines) {
    fail("too many lines", number);
  } else if (equals == std::string_view::npos || equals == 0) {
    fail("not a key=value line", number);
  } else if (!clean) {
    fail("a control character in the line", number);
  } else if (find(line.substr(0, equals)) != nullptr) {
    fail("duplicate key " + std::string(line.substr(0, equals)), number);
  } else {
    lines_.push_back(Line{line.substr(0, equals), line.substr(equals + 1), number, false});
  }
  return !failed_;
}

SpecReader::Line* SpecReader::find(std::string_view key) {
  auto found = std::find_if(lines_.begin(), lines_.end(),
                            [key](const Line& line) { return line.key == key; });
  return found == lines_.end() ? nullptr : &*found;
}

SpecReader::Line* SpecReader::take(std::string_view key) {
  Line* line = find(key);
  if (line == nullptr) {
    fail("missing key " + std::string(key));
    return nullptr;
  }
  line->taken = true;
  return line;
}

bool SpecReader::finish() {
  for (const Line& line : lines_) {
    if (!line.taken) fail("unknown key " + std::string(line.key), line.number);
  }
  return !failed_;
}

void SpecReader::text(std::string_view key, std::string& out, std::size_t max_bytes) {
  const Line* line = take(key);
  if (line == nullptr) return;
  if (line->value.size() > max_bytes) {
    return fail(std::string(key) + " is longer than " + std::to_string(max_bytes) + " bytes",
                line->number);
  }
  out = line->value;
}

void SpecReader::flag(std::string_view key, bool& out) {
  choice(key, out, kSpecBoolNames);
}

}  // namespace bulkhead
