// SPDX-License-Identifier: Apache-2.0
#include "mem/carved_range.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <optional>
#include <vector>

#include "base/fd.h"

namespace bulkhead {
namespace {

constexpr std::size_t kMaxFileBytes = 4 * kMiB;
constexpr unsigned kMaxFirmwareEntries = 4096;

struct Range {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive, as the kernel prints it

  bool contains(const Range& other) const { return first <= other.first && other.last <= last; }
  bool overlaps(const Range& other) const { return first <= other.last && other.first <= last; }
};

struct Resource {
  Range range;
  std::string name;
};

Result<std::string> read_file(const std::string& path) {
  const Fd file = TRY(Fd::open(path.c_str(), O_RDONLY));
  std::string content;
  char buffer[4096];
  while (content.size() < kMaxFileBytes) {
    const ssize_t count = ::read(file.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return os_error("cannot read a description of the host's memory");
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
  }
  return Error{Errc::kMalformed, 0, "a description of the host's memory is too long"};
}

// Takes the next part of `text`, up to the separator or the end.
std::string_view next_part(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

// A number at the start of `text`, which is taken from it. `base` is strtoull's.
std::optional<std::uint64_t> take_number(std::string_view& text, int base) {
  const std::string copy(text);
  if (copy.empty() || std::isxdigit(static_cast<unsigned char>(copy[0])) == 0) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(copy.c_str(), &end, base);
  if (errno != 0 || end == copy.c_str()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - copy.c_str()));
  return value;
}

// As the kernel's memparse() reads it: decimal, 0x hexadecimal or 0 octal, and a suffix.
std::optional<std::uint64_t> take_size(std::string_view& text) {
  const std::optional<std::uint64_t> number = take_number(text, 0);
  if (!number || text.empty()) return number;
  constexpr std::string_view kSuffixes = "KMGTPE";
  const auto suffix =
      kSuffixes.find(static_cast<char>(std::toupper(static_cast<unsigned char>(text.front()))));
  if (suffix == std::string_view::npos) return number;
  text.remove_prefix(1);
  const unsigned shift = 10 * (static_cast<unsigned>(suffix) + 1);
  if (*number > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *number << shift;
}

// "SIZE$ADDRESS", with the separator given.
std::optional<Range> parse_region(std::string_view text, char separator) {
  const std::optional<std::uint64_t> size = take_size(text);
  if (!size || *size == 0 || text.empty() || text.front() != separator) return std::nullopt;
  text.remove_prefix(1);
  const std::optional<std::uint64_t> base = take_size(text);
  if (!base || !text.empty()) return std::nullopt;
  if (*size - 1 > std::numeric_limits<std::uint64_t>::max() - *base) return std::nullopt;
  return Range{*base, *base + (*size - 1)};
}

bool is_named_by_option(std::string_view command_line, const Range& wanted) {
  constexpr std::string_view kOption = "memmap=";
  while (!command_line.empty()) {
    std::string_view word = next_part(command_line, ' ');
    while (!word.empty() && word.back() == '\n') word.remove_suffix(1);
    if (word == "--") return false;  // what follows is init's
    if (!word.starts_with(kOption)) continue;
    word.remove_prefix(kOption.size());
    while (!word.empty()) {
      const std::optional<Range> region = parse_region(next_part(word, ','), '$');
      if (region && region->contains(wanted)) return true;
    }
  }
  return false;
}

Result<std::vector<Range>> firmware_ram(const std::string& root) {
  std::vector<Range> ram;
  for (unsigned index = 0; index < kMaxFirmwareEntries; ++index) {
    const std::string entry = root + "/sys/firmware/memmap/" + std::to_string(index);
    const Result<std::string> first = read_file(entry + "/start");
    if (!first && first.error().code == Errc::kNotFound && index > 0) return ram;
    if (!first) {
      return Error{first.error().code, first.error().os_errno,
                   "cannot read /sys/firmware/memmap: carved memory needs a host kernel with "
                   "CONFIG_FIRMWARE_MEMMAP, and root"};
    }
    const std::string last = TRY(read_file(entry + "/end"));
    if (!TRY(read_file(entry + "/type")).starts_with("System RAM")) continue;
    std::string_view first_text = *first;
    std::string_view last_text = last;
    const auto from = take_number(first_text, 16);
    const auto to = take_number(last_text, 16);
    if (!from || !to) return Error{Errc::kMalformed, 0, "/sys/firmware/memmap is not understood"};
    ram.push_back({*from, *to});
  }
  return Error{Errc::kMalformed, 0, "/sys/firmware/memmap has no end"};
}

// Whether the ranges together cover all of `wanted`; firmware may list one bank in pieces.
bool covers(std::vector<Range> ranges, const Range& wanted) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  std::uint64_t next = wanted.first;  // the first address not yet covered
  for (const Range& range : ranges) {
    if (range.first > next || range.last < next) continue;
    if (range.last >= wanted.last) return true;
    next = range.last + 1;
  }
  return false;
}

Result<std::vector<Resource>> host_resources(const std::string& root) {
  const std::string text = TRY(read_file(root + "/proc/iomem"));
  std::vector<Resource> resources;
  std::string_view left = text;
  while (!left.empty()) {
    std::string_view line = next_part(left, '\n');
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) continue;
    constexpr std::string_view kSeparator = " : ";
    const auto first = take_number(line, 16);
    if (!first || line.empty() || line.front() != '-')
      return Error{Errc::kMalformed, 0, "/proc/iomem is not understood"};
    line.remove_prefix(1);
    const auto last = take_number(line, 16);
    if (!last || !line.starts_with(kSeparator))
      return Error{Errc::kMalformed, 0, "/proc/iomem is not understood"};
    resources.push_back({{*first, *last}, std::string(line.substr(kSeparator.size()))});
  }
  return resources;
}

// Whoever may not know addresses is shown zeroes.
bool are_hidden(const std::vector<Resource>& resources) {
  return std::all_of(resources.begin(), resources.end(), [](const Resource& resource) {
    return resource.range.first == 0 && resource.range.last == 0;
  });
}

Result<void> check_unused(const std::vector<Resource>& resources, const Range& wanted) {
  if (are_hidden(resources)) {
    return Error{Errc::kPermission, 0, "/proc/iomem hides its addresses: become root"};
  }
  bool reserved = false;
  for (const Resource& resource : resources) {
    if (!resource.range.overlaps(wanted)) continue;
    if (resource.name == "System RAM") {
      return Error{Errc::kBusy, 0,
                   "the host kernel uses part of this memory (System RAM in /proc/iomem): give "
                   "memmap=SIZE$ADDRESS to its command line, and start it again"};
    }
    if (resource.name != "Reserved") {
      return Error{Errc::kBusy, 0,
                   "a device or the host kernel has part of this memory (see /proc/iomem): choose "
                   "another address for memmap="};
    }
    reserved = reserved || resource.range.contains(wanted);
  }
  if (reserved) return {};
  return Error{Errc::kNotFound, 0,
               "/proc/iomem does not have all of this memory in one \"Reserved\" range: choose "
               "another address for memmap="};
}

}  // namespace

Result<CarvedRange> CarvedRange::check(std::uint64_t base, std::uint64_t size_bytes,
                                       const std::string& root) {
  if (size_bytes == 0 || size_bytes % kFrameSize != 0 || base % kFrameSize != 0 ||
      size_bytes > std::numeric_limits<std::uint64_t>::max() - base) {
    return Error{Errc::kInvalidArgument, 0,
                 "address and size of carved memory must be multiples of 2 MiB"};
  }
  const Range wanted{base, base + size_bytes - 1};
  if (!is_named_by_option(TRY(read_file(root + "/proc/cmdline")), wanted)) {
    return Error{Errc::kNotFound, 0,
                 "no memmap= option of the host kernel names all of this memory: give "
                 "memmap=SIZE$ADDRESS to its command line (boot loaders want the $ escaped)"};
  }
  if (!covers(TRY(firmware_ram(root)), wanted)) {
    return Error{Errc::kOutOfRange, 0,
                 "not all of this memory is RAM for the firmware (/sys/firmware/memmap): choose "
                 "another address for memmap="};
  }
  TRY(check_unused(TRY(host_resources(root)), wanted));
  return CarvedRange(base, size_bytes);
}

Result<CarvedRange> CarvedRange::parse(std::string_view text, const std::string& root) {
  const std::optional<Range> range = parse_region(text, '@');
  if (!range) {
    return Error{Errc::kInvalidArgument, 0,
                 "carved memory is named as SIZE@ADDRESS, such as 64M@0x50000000"};
  }
  return check(range->first, range->last - range->first + 1, root);
}

}  // namespace bulkhead
