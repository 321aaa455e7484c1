// SPDX-License-Identifier: Apache-2.0
#include "host/root.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/fd.h"

namespace bulkhead::host {

namespace {

constexpr std::size_t kMaxText = 256 * 1024;
constexpr std::size_t kMaxNames = 4096;
constexpr std::string_view kSpace = " \t\n\r\v\f";

std::string_view trim(std::string_view text) {
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

char ascii_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

bool Root::exists(std::string_view file) const {
  return ::access(path(file).c_str(), F_OK) == 0;
}

std::optional<std::string> Root::text(std::string_view file) const {
  // Non-blocking: a pipe in the place of a file must not stop the survey.
  auto fd = Fd::open(path(file).c_str(), O_RDONLY | O_NONBLOCK);
  if (!fd) return std::nullopt;
  std::string content(kMaxText, '\0');
  std::size_t used = 0;
  while (used < content.size()) {
    ssize_t count = ::read(fd->get(), content.data() + used, content.size() - used);
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    used += static_cast<std::size_t>(count);
  }
  content.resize(used);
  content.resize(content.find_last_not_of(kSpace) + 1);
  return content;
}

std::optional<std::uint64_t> Root::number(std::string_view file) const {
  auto content = text(file);
  if (!content) return std::nullopt;
  return parse_number(*content);
}

bool Root::enabled(std::string_view file) const {
  auto content = text(file);
  if (!content || content->empty()) return false;
  return content->front() == 'Y' || content->front() == 'y' || parse_number(*content).value_or(0);
}

std::vector<std::string> Root::list(std::string_view directory) const {
  std::vector<std::string> names;
  std::unique_ptr<DIR, CloseDirectory> open(::opendir(path(directory).c_str()));
  if (open == nullptr) return names;
  while (names.size() < kMaxNames) {
    const dirent* entry = ::readdir(open.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::ranges::sort(names);
  return names;
}

std::string chosen_word(std::string_view text) {
  std::size_t open = text.find('[');
  std::size_t close = text.find(']', open == std::string_view::npos ? text.size() : open);
  if (close == std::string_view::npos) return {};
  return std::string(text.substr(open + 1, close - open - 1));
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  for (std::size_t start = text.find_first_not_of(kSpace); start != std::string_view::npos;) {
    std::size_t end = std::min(text.find_first_of(kSpace, start), text.size());
    result.push_back(text.substr(start, end - start));
    start = text.find_first_not_of(kSpace, end);
  }
  return result;
}

std::optional<std::string_view> field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    std::size_t colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) {
      return trim(line.substr(colon + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  text = trim(text);
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  std::uint64_t value = 0;
  const char* last = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data(), last, value, hexadecimal ? 16 : 10);
  if (error != std::errc()) return std::nullopt;
  constexpr std::string_view kUnits = "KMGT";
  std::size_t unit = end == last ? kUnits.npos : kUnits.find(ascii_upper(*end));
  if (unit == kUnits.npos) return value;
  std::size_t shift = 10 * (unit + 1);
  if (value > UINT64_MAX >> shift) return std::nullopt;
  return value << shift;
}

}  // namespace bulkhead::host
