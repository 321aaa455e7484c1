// SPDX-License-Identifier: Apache-2.0
#include "host/page_tables.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

namespace bulkhead::host {
namespace {

// 256 MiB of addresses: few system calls, and the buffer stays in the cache.
constexpr std::size_t kEntriesPerRead = 64 * 1024;
// Anonymous memory above this is often reserved and hardly used: worth asking where it is.
constexpr std::uint64_t kSparseSize = 16 * kMiB;
constexpr std::size_t kMaxText = std::size_t{256} << 20;

// <linux/fs.h> of Linux 6.7 and later; Debian 12's headers are older.
struct PageRegion {
  std::uint64_t start, end, categories;
};
struct PagemapScan {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(PageRegion) == 24 && sizeof(PagemapScan) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
constexpr std::uint64_t kPageIsPresent = 1 << 3;
constexpr std::uint64_t kPageIsSwapped = 1 << 4;

// A process that has gone answers in several ways.
Error process_error(const char* what) {
  if (errno == ESRCH || errno == ENOENT) return {Errc::kNotFound, errno, "the process has ended"};
  return os_error(what);
}

Result<Fd> open_at(int directory, const char* name, int flags) {
  const int number = ::openat(directory, name, flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (number < 0) return process_error("cannot open a file of the process");
  return Fd(number);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

template <class Number>
std::optional<Number> whole_number(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes what is before `separator` from the front of `text`, and the separator.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

std::uint64_t file_size(std::size_t entries) {
  return entries * sizeof(std::uint64_t);
}

}  // namespace

// "7f00-7f10 rw-s 00001000 00:01 1234      /memfd:bulkhead-ram (deleted)"
std::optional<Vma> parse_maps_line(std::string_view line) {
  Vma vma;
  const auto start = whole_number<std::uint64_t>(take_until(line, '-'), 16);
  const auto end = whole_number<std::uint64_t>(take_until(line, ' '), 16);
  const std::string_view rights = take_until(line, ' ');
  const auto offset = whole_number<std::uint64_t>(take_until(line, ' '), 16);
  const auto major = whole_number<unsigned>(take_until(line, ':'), 16);
  const auto minor = whole_number<unsigned>(take_until(line, ' '), 16);
  const auto inode = whole_number<std::uint64_t>(take_until(line, ' '));
  if (!start || !end || *start >= *end || rights.size() != 4) return std::nullopt;
  if (!offset || !major || !minor || !inode) return std::nullopt;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  return Vma{.start = Hva(*start),
             .end = Hva(*end),
             .file_offset = *offset,
             .file = {makedev(*major, *minor), *inode},
             .path = std::string(line),
             .readable = rights[0] == 'r',
             .writable = rights[1] == 'w',
             .shared = rights[3] == 's'};
}

Result<std::string> read_text_at(int directory, const char* name) {
  const Fd file = TRY(open_at(directory, name, 0));
  std::string text;
  constexpr std::size_t kStep = 64 * 1024;
  while (text.size() < kMaxText) {
    const std::size_t used = text.size();
    text.resize(used + kStep);
    const ssize_t count = ::read(file.get(), text.data() + used, kStep);
    text.resize(used + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) return process_error("cannot read a file of the process");
    if (count == 0) return text;
  }
  return Error{Errc::kExhausted, 0, "a file of the process is too long"};
}

Result<Process> Process::open(const Root& root, pid_t pid) {
  const std::string path = root.path("/proc/" + std::to_string(pid));
  const int number = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (number < 0) return process_error("cannot open the directory of the process");
  Fd directory(number);
  Fd pagemap = TRY(open_at(directory.get(), "pagemap", 0));
  return Process(pid, std::move(directory), std::move(pagemap));
}

std::string Process::command() const {
  std::string name = read_text_at(directory_.get(), "comm").value_or("");
  name = name.substr(0, name.find('\n'));
  std::ranges::replace_if(name, [](char c) { return c < ' ' || c > '~'; }, '?');
  return name.empty() ? "?" : name;
}

Result<std::vector<Vma>> Process::vmas() const {
  const std::string text = TRY(read_text_at(directory_.get(), "maps"));
  std::vector<Vma> vmas;
  for (std::string_view rest = text; !rest.empty();) {
    if (auto vma = parse_maps_line(take_until(rest, '\n'))) vmas.push_back(std::move(*vma));
  }
  return vmas;
}

// Only anonymous memory is asked about first: the kernel's answer leaves out what drivers map.
Result<void> Process::walk(const Vma& vma, const Visitor& visit) const {
  if (vma.file.inode == 0 && vma.path.empty() && vma.size_bytes() > kSparseSize) {
    return walk_populated(vma.start, vma.end, visit);
  }
  return read_entries(vma.start, vma.end, visit);
}

Result<void> Process::walk_populated(Hva start, Hva end, const Visitor& visit) const {
  std::array<PageRegion, 512> regions;
  while (start < end) {
    PagemapScan scan{};
    scan.size = sizeof scan;
    scan.start = start.value();
    scan.end = end.value();
    scan.vec = std::bit_cast<std::uintptr_t>(regions.data());
    scan.vec_len = regions.size();
    scan.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    scan.return_mask = kPageIsPresent;
    const int count = ::ioctl(pagemap_.get(), kPagemapScan, &scan);
    // The kernel cannot (before 6.7), or the process has ended: the rest in the plain way.
    if (count < 0 || scan.walk_end <= start.value()) return read_entries(start, end, visit);
    for (const PageRegion& region : std::span(regions).first(static_cast<std::size_t>(count))) {
      TRY(read_entries(Hva(region.start), Hva(region.end), visit));
    }
    start = Hva(scan.walk_end);
  }
  return {};
}

// The file ends where the process has, or at the end of its addresses.
Result<void> Process::read_entries(Hva start, Hva end, const Visitor& visit) const {
  static_assert(sizeof(PageEntry) == sizeof(std::uint64_t));
  std::vector<PageEntry> entries(
      std::min<std::uint64_t>((end - start) / kPageSize, kEntriesPerRead));
  while (start < end) {
    const std::size_t wanted = std::min<std::uint64_t>((end - start) / kPageSize, entries.size());
    const ssize_t count = ::pread(pagemap_.get(), entries.data(), file_size(wanted),
                                  static_cast<off_t>(file_size(start.value() / kPageSize)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return process_error("cannot read the page tables of the process");
    const std::size_t got = static_cast<std::size_t>(count) / sizeof(PageEntry);
    if (got == 0) return {};
    visit(start, std::span(entries).first(got));
    start = start + got * kPageSize;
  }
  return {};
}

std::uint64_t Process::mapped_device(const Vma& vma) const {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "map_files/%llx-%llx",
                static_cast<unsigned long long>(vma.start.value()),
                static_cast<unsigned long long>(vma.end.value()));
  struct statx status{};
  if (vma.file.inode == 0) return 0;
  if (::statx(directory_.get(), name.data(), AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0)
    return 0;
  return makedev(status.stx_rdev_major, status.stx_rdev_minor);
}

// statx without asking a remote server: a descriptor on a dead network file system must not stop
// the audit.
Result<std::vector<OpenFile>> Process::open_files() const {
  Fd list = TRY(open_at(directory_.get(), "fd", O_DIRECTORY));
  const Directory directory(::fdopendir(list.get()));
  if (directory == nullptr) return os_error("cannot list the descriptors of the process");
  const int fd = list.release();  // it is the directory's now
  std::vector<OpenFile> files;
  while (const dirent* entry = ::readdir(directory.get())) {  // NOLINT(concurrency-mt-unsafe)
    const auto number = whole_number<int>(entry->d_name);
    struct statx status{};
    if (!number || ::statx(fd, entry->d_name, AT_STATX_DONT_SYNC, STATX_INO, &status) != 0)
      continue;
    files.push_back({.number = *number,
                     .file = {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino},
                     .special_device = makedev(status.stx_rdev_major, status.stx_rdev_minor)});
  }
  return files;
}

Result<SmapsTotals> Process::smaps_of(const FileId& file) const {
  const std::string text = TRY(read_text_at(directory_.get(), "smaps"));
  const auto bytes = [](std::string_view line, std::string_view key) {
    return parse_number(field(line, key).value_or("")).value_or(0) * kKiB;
  };
  SmapsTotals totals;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = take_until(rest, '\n');
    if (const auto vma = parse_maps_line(line)) {
      inside = vma->file == file;
    } else if (inside) {
      totals.swapped_bytes += bytes(line, "Swap");
      totals.merged_bytes += bytes(line, "KSM");
    }
  }
  return totals;
}

std::vector<pid_t> process_ids(const Root& root) {
  std::vector<pid_t> ids;
  const Directory directory(::opendir(root.path("/proc").c_str()));
  if (directory == nullptr) return ids;
  while (const dirent* entry = ::readdir(directory.get())) {  // NOLINT(concurrency-mt-unsafe)
    if (const auto pid = whole_number<pid_t>(entry->d_name); pid && *pid > 0) ids.push_back(*pid);
  }
  std::ranges::sort(ids);
  return ids;
}

Result<PageArray> PageArray::open(const Root& root, std::string_view file) {
  return PageArray(TRY(Fd::open(root.path(file).c_str(), O_RDONLY)));
}

Result<std::size_t> PageArray::read(Pfn first, std::span<std::uint64_t> to) const {
  // A frame number is 55 bits wide where it comes from; an offset in a file has 63.
  if (first.value() > INT64_MAX / sizeof(std::uint64_t)) return std::size_t{0};
  const ssize_t count = ::pread(file_.get(), to.data(), to.size_bytes(),
                                static_cast<off_t>(file_size(first.value())));
  if (count < 0) return os_error("cannot read an array of the kernel's pages");
  return static_cast<std::size_t>(count) / sizeof(std::uint64_t);
}

}  // namespace bulkhead::host
