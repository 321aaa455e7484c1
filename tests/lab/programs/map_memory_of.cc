// SPDX-License-Identifier: Apache-2.0
// map-memory-of PID [PAGES] [--fd]: maps the guest memory of the monitor PID a second time, through
// /proc/PID/map_files (or, with --fd, by a descriptor of it), reads the first byte of at most PAGES
// pages (default 16) that are there, says "mapped BYTES bytes, touched N pages", and holds the
// mapping until its input ends. What an audit must find.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t kPage = 4096;

struct Memory {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t offset = 0;
  std::string range;  // as in /proc/PID/map_files
};

// The largest shared mapping of a memory file, of a pool's file or of physical memory.
std::optional<Memory> guest_memory(const std::string& process) {
  std::optional<Memory> best;
  std::ifstream maps(process + "/maps");
  for (std::string line; std::getline(maps, line);) {
    Memory memory;
    char shared = 0;
    char path[256] = "";
    if (std::sscanf(line.c_str(),
                    "%" SCNx64 "-%" SCNx64 " rw%*c%c %" SCNx64 " %*x:%*x %*u %255[^\n]",
                    &memory.start, &memory.end, &shared, &memory.offset, path) != 5) {
      continue;
    }
    const bool ram = std::strstr(path, "/memfd:bulkhead-ram") != nullptr ||
                     std::strstr(path, "/pools/") != nullptr || std::strcmp(path, "/dev/mem") == 0;
    if (shared != 's' || !ram) continue;
    if (best && best->end - best->start >= memory.end - memory.start) continue;
    memory.range = line.substr(0, line.find(' '));
    best = memory;
  }
  return best;
}

// A descriptor of the file that is mapped there.
int open_by_descriptor(const std::string& process, const struct stat& wanted) {
  DIR* list = ::opendir((process + "/fd").c_str());
  if (list == nullptr) return -1;
  while (const dirent* entry = ::readdir(list)) {
    const std::string path = process + "/fd/" + entry->d_name;
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 && status.st_ino == wanted.st_ino &&
        status.st_dev == wanted.st_dev) {
      return ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    }
  }
  return -1;
}

// Pages that the process has: touching others would give it new ones.
std::vector<std::uint64_t> present(const std::string& process, const Memory& memory,
                                   std::size_t limit) {
  std::vector<std::uint64_t> pages;
  const int pagemap = ::open((process + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC);
  for (std::uint64_t at = memory.start; at < memory.end && pages.size() < limit; at += kPage) {
    std::uint64_t entry = 0;
    const auto offset = static_cast<off_t>(at / kPage * sizeof entry);
    if (::pread(pagemap, &entry, sizeof entry, offset) != sizeof entry) break;
    if (entry >> 63 != 0) pages.push_back(at - memory.start);
  }
  ::close(pagemap);
  return pages;
}

int fail(const char* what) {
  std::perror(what);
  return 1;
}

int hold(const std::string& process, std::size_t limit, bool by_descriptor) {
  const auto memory = guest_memory(process);
  if (!memory) {
    std::fprintf(stderr, "map-memory-of: it maps no guest memory\n");
    return 1;
  }
  const std::string path = process + "/map_files/" + memory->range;
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail(path.c_str());
  const int fd = by_descriptor ? open_by_descriptor(process, status)
                               : ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail("open");
  const std::uint64_t size = memory->end - memory->start;
  void* mapped =
      ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(memory->offset));
  if (mapped == MAP_FAILED) return fail("mmap");
  ::close(fd);
  const auto* bytes = static_cast<const volatile unsigned char*>(mapped);
  const std::vector<std::uint64_t> pages = present(process, *memory, limit);
  for (const std::uint64_t offset : pages) static_cast<void>(bytes[offset]);
  std::printf("mapped %" PRIu64 " bytes, touched %zu pages\n", size, pages.size());
  std::fflush(stdout);
  char discarded[64];
  while (::read(STDIN_FILENO, discarded, sizeof discarded) > 0) continue;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t limit = 16;
  bool by_descriptor = false;
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: map-memory-of PID [PAGES] [--fd]\n");
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--fd") == 0) {
      by_descriptor = true;
    } else {
      limit = std::strtoull(argv[i], nullptr, 10);
    }
  }
  return hold(std::string("/proc/") + argv[1], limit, by_descriptor);
}
