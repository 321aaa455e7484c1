// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "host/root.h"

// What processes really map, as the kernel tells root: /proc/PID/maps, pagemap and fd, and the
// arrays /proc/kpagecount and /proc/kpageflags. Processes end while one looks: Errc::kNotFound
// then, which is no failure. Formats: Documentation/admin-guide/mm/pagemap.rst of Linux, proc(5).

namespace bulkhead::host {

// A 4 KiB page of the machine's physical memory by its number.
using Pfn = Address<struct PfnKind>;

// An entry of /proc/PID/pagemap.
class PageEntry {
 public:
  PageEntry() = default;
  explicit PageEntry(std::uint64_t bits) : bits_(bits) {}

  bool present() const { return (bits_ >> 63 & 1) != 0; }
  bool swapped() const { return (bits_ >> 62 & 1) != 0; }
  bool file_or_shared() const { return (bits_ >> 61 & 1) != 0; }
  bool exclusive() const { return (bits_ >> 56 & 1) != 0; }
  // Of a page that is present. 0 tells a reader without CAP_SYS_ADMIN nothing.
  Pfn pfn() const { return Pfn(bits_ & ((std::uint64_t{1} << 55) - 1)); }

 private:
  std::uint64_t bits_ = 0;
};

// A file, whatever its name: device number and inode.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  // 0: no file
  auto operator<=>(const FileId&) const = default;
};

// A line of /proc/PID/maps.
struct Vma {
  Hva start;
  Hva end;  // first byte after it
  std::uint64_t file_offset = 0;
  FileId file;
  std::string path;  // as the kernel writes it, "" for anonymous memory
  bool readable = false;
  bool writable = false;
  bool shared = false;

  std::uint64_t size_bytes() const { return end - start; }
};

std::optional<Vma> parse_maps_line(std::string_view line);

// An entry of /proc/PID/fd.
struct OpenFile {
  int number = -1;
  FileId file;
  std::uint64_t special_device = 0;  // of a character or block device: which
};

struct SmapsTotals {
  std::uint64_t swapped_bytes = 0;
  std::uint64_t merged_bytes = 0;  // by KSM
};

// One process. Its tables are those of the process that was there when it was opened: a process
// that gets the same number later is not mistaken for it.
class Process {
 public:
  // Called with runs of entries; the first is that of the page at `start`.
  using Visitor = std::function<void(Hva start, std::span<const PageEntry> entries)>;

  static Result<Process> open(const Root& root, pid_t pid);

  pid_t pid() const { return pid_; }
  // Its name as /proc/PID/comm has it, unprintable bytes replaced.
  std::string command() const;
  // In order of their addresses. Lines that make no sense are left out.
  Result<std::vector<Vma>> vmas() const;
  // The device, if the mapping is of a character or block device; 0 of others.
  std::uint64_t mapped_device(const Vma& vma) const;
  // Visits at least the pages of the range that are present or swapped. May leave out the others.
  // The kernel shows no entries of what a driver maps without struct pages (VM_PFNMAP, as
  // /dev/mem).
  Result<void> walk(const Vma& vma, const Visitor& visit) const;
  // A process that hides its descriptors (or has ended) has an Error.
  Result<std::vector<OpenFile>> open_files() const;
  // What smaps says of the mappings of a file. Page tables do not tell of pages of a memory file
  // that are in swap.
  Result<SmapsTotals> smaps_of(const FileId& file) const;

 private:
  Process(pid_t pid, Fd directory, Fd pagemap)
      : pid_(pid), directory_(std::move(directory)), pagemap_(std::move(pagemap)) {}

  Result<void> read_entries(Hva start, Hva end, const Visitor& visit) const;
  Result<void> walk_populated(Hva start, Hva end, const Visitor& visit) const;

  pid_t pid_ = 0;
  Fd directory_;
  Fd pagemap_;
};

// The numbers below /proc, ascending.
std::vector<pid_t> process_ids(const Root& root);

// Bits of /proc/kpageflags: <linux/kernel-page-flags.h>.
inline constexpr std::uint64_t kPageFlagBuddy = std::uint64_t{1} << 10;
inline constexpr std::uint64_t kPageFlagNoPage = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kPageFlagKsm = std::uint64_t{1} << 21;

// /proc/kpagecount or /proc/kpageflags: a number for every page of the machine.
class PageArray {
 public:
  static Result<PageArray> open(const Root& root, std::string_view file);
  // How many there were: fewer at the end of memory.
  Result<std::size_t> read(Pfn first, std::span<std::uint64_t> to) const;

 private:
  explicit PageArray(Fd file) : file_(std::move(file)) {}

  Fd file_;
};

// A whole file below /proc, to a bound that no honest one reaches.
Result<std::string> read_text_at(int directory, const char* name);

}  // namespace bulkhead::host
