// SPDX-License-Identifier: Apache-2.0
// search-memory [--run ID] [--mem START-END]...: reads all of the host's RAM through /proc/kcore,
// that is, through the kernel's direct map, and physical ranges outside of it (carved ones) through
// /dev/mem; says how many different canaries it saw, and of which runs.
//   found N of run ID            for each run
//   searched B bytes in S s, N canaries in M places, U unreadable bytes
// Exit status: 0 none was found, 1 some were, 2 wrong usage, 3 could not search.
//
// Its own buffer holds what it read last, so its pages are left out. What it finds it keeps as
// names only.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "canary.h"

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::size_t kWordsPerPage = kPage / sizeof(std::uint64_t);

struct Range {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t file_offset = 0;
};

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(3);
}

int open_file(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) give_up(path);
  return fd;
}

// System RAM by physical address, as the kernel tells root.
std::vector<Range> system_ram() {
  std::vector<Range> ranges;
  std::ifstream iomem("/proc/iomem");
  for (std::string line; std::getline(iomem, line);) {
    Range range;
    if (line.starts_with(' ') || line.find(" : System RAM") == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &range.start, &range.end) != 2) continue;
    ++range.end;
    ranges.push_back(range);
  }
  return ranges;
}

// The parts of the core file that are the direct map of RAM. Other parts show the same memory again
// (the kernel's text, vmalloc), or describe it (vmemmap).
std::vector<Range> direct_map(int kcore) {
  Elf64_Ehdr header{};
  if (::pread(kcore, &header, sizeof header, 0) != sizeof header ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    give_up("/proc/kcore is no ELF file");
  }
  std::vector<Elf64_Phdr> parts(header.e_phnum);
  const auto bytes = static_cast<ssize_t>(parts.size() * sizeof parts[0]);
  if (::pread(kcore, parts.data(), static_cast<std::size_t>(bytes),
              static_cast<off_t>(header.e_phoff)) != bytes) {
    give_up("/proc/kcore ends early");
  }
  constexpr std::uint64_t kKernelImage = 0xffffffff80000000;
  std::vector<Range> ranges;
  for (const Elf64_Phdr& part : parts) {
    if (part.p_type != PT_LOAD || part.p_vaddr >= kKernelImage) continue;
    for (const Range& ram : system_ram()) {
      const std::uint64_t start = std::max(ram.start, part.p_paddr);
      const std::uint64_t end = std::min(ram.end, part.p_paddr + part.p_filesz);
      if (part.p_paddr == ~std::uint64_t{0} || start >= end) continue;
      ranges.push_back({start, end, part.p_offset + (start - part.p_paddr)});
    }
  }
  return ranges;
}

class Search {
 public:
  Search() {
    void* memory = ::mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
    if (memory == MAP_FAILED) give_up("mmap");
    buffer_ = static_cast<std::uint64_t*>(memory);
    find_own_pages();
  }

  void read(int fd, const Range& range) {
    for (std::uint64_t at = range.start; at < range.end;) {
      const std::size_t wanted = std::min<std::uint64_t>(kBufferBytes, range.end - at);
      const auto offset = static_cast<off_t>(range.file_offset + (at - range.start));
      const ssize_t got = ::pread(fd, buffer_, wanted, offset);
      if (got > 0) look_through(at, static_cast<std::size_t>(got));
      searched_ += static_cast<std::uint64_t>(std::max<ssize_t>(got, 0));
      // A page that cannot be read (or the rest of one) is left out.
      const std::uint64_t done =
          got > 0 ? static_cast<std::uint64_t>(got) : std::min(kPage - at % kPage, range.end - at);
      if (got <= 0) unreadable_ += done;
      at += done;
    }
  }

  std::size_t report(double seconds) const {
    std::map<std::uint64_t, std::size_t> runs;
    for (const canary::Name& name : found_) ++runs[name.run];
    for (const auto& [run, count] : runs)
      std::printf("found %zu of run %016" PRIx64 "\n", count, run);
    std::printf("searched %" PRIu64 " bytes in %.1f s, %zu canaries in %zu places, %" PRIu64
                " unreadable bytes\n",
                searched_, seconds, found_.size(), places_, unreadable_);
    return found_.size();
  }
  std::uint64_t searched() const { return searched_; }
  void only(std::uint64_t run) { only_ = run; }

 private:
  void find_own_pages() {
    const int pagemap = open_file("/proc/self/pagemap");
    for (std::size_t page = 0; page < kBufferBytes / kPage; ++page) {
      const std::uint64_t number = std::bit_cast<std::uintptr_t>(buffer_) / kPage + page;
      std::uint64_t entry = 0;
      const auto offset = static_cast<off_t>(number * sizeof entry);
      if (::pread(pagemap, &entry, sizeof entry, offset) != sizeof entry || entry >> 63 == 0) {
        give_up("/proc/self/pagemap");
      }
      own_.insert(entry & ((std::uint64_t{1} << 55) - 1));
    }
    ::close(pagemap);
    if (own_.size() != kBufferBytes / kPage) {
      std::fprintf(stderr, "search-memory: the kernel hides page numbers: run it as root\n");
      std::exit(3);
    }
  }

  // Canaries lie at multiples of 8 bytes, and never across two pages.
  void look_through(std::uint64_t address, std::size_t bytes) {
    for (std::size_t at = 0; at + kPage <= bytes + kPage - 1; at += kPage) {
      const std::size_t words = std::min(bytes - at, std::size_t{kPage}) / sizeof(std::uint64_t);
      if (words < 8 || own_.contains((address + at) / kPage)) continue;
      look_through_page(buffer_ + at / sizeof(std::uint64_t), words);
    }
  }

  void look_through_page(const std::uint64_t* words, std::size_t count) {
    for (std::size_t i = 0; i + 8 <= count; ++i) {
      if (words[i + 1] != canary::partner(words[i])) [[likely]]
        continue;
      const auto name = canary::read(words + i);
      if (!name || (only_ && name->run != *only_)) continue;
      found_.insert(*name);
      ++places_;
    }
  }

  std::uint64_t* buffer_ = nullptr;
  std::set<std::uint64_t> own_;  // physical pages of the buffer
  std::optional<std::uint64_t> only_;
  std::set<canary::Name> found_;
  std::size_t places_ = 0;
  std::uint64_t searched_ = 0;
  std::uint64_t unreadable_ = 0;
};

int usage() {
  std::fprintf(stderr, "usage: search-memory [--run ID] [--mem START-END]...\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Search search;
  std::vector<Range> physical;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    Range range;
    if (i + 1 == argc) return usage();
    if (option == "--run") {
      search.only(std::strtoull(argv[i + 1], nullptr, 16));
    } else if (option == "--mem" &&
               std::sscanf(argv[i + 1], "%" SCNx64 "-%" SCNx64, &range.start, &range.end) == 2) {
      range.file_offset = range.start;
      physical.push_back(range);
    } else {
      return usage();
    }
  }
  const auto started = std::chrono::steady_clock::now();
  const int kcore = open_file("/proc/kcore");
  for (const Range& range : direct_map(kcore)) search.read(kcore, range);
  if (!physical.empty()) {
    const int memory = open_file("/dev/mem");
    for (const Range& range : physical) search.read(memory, range);
  }
  if (search.searched() == 0) {
    std::fprintf(stderr, "search-memory: there was nothing to read\n");
    return 3;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  return search.report(took.count()) == 0 ? 0 : 1;
}
