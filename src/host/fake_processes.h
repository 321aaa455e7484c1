// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <string>

#include "host/fake_root.h"
#include "host/page_tables.h"

// For tests: processes with page tables, and the kernel's counts of pages, below a fake root.

namespace bulkhead::host {

class FakeProcesses {
 public:
  struct Mapping {
    pid_t pid = 0;
    Hva start;
    std::uint64_t first_pfn = 0;
    std::uint64_t pages = 1;
    FileId file = {};
    std::uint64_t file_offset = 0;
    std::string path = {};
  };

  FakeProcesses() {
    write_array("/proc/kpagecount", {});
    write_array("/proc/kpageflags", {});
    add_process(1, "init");
  }

  void add_process(pid_t pid, const std::string& command) {
    root_.add(place(pid, "comm"), command + "\n")
        .add(place(pid, "maps"))
        .add(place(pid, "smaps"))
        .add(place(pid, "pagemap"));
    std::filesystem::create_directories(root_.root().path(place(pid, "fd")));
  }

  // Also counts the mapping, as the kernel does.
  void map(const Mapping& mapping) {
    append(mapping.pid, "maps", maps_line(mapping));
    append(mapping.pid, "smaps", maps_line(mapping));
    for (std::uint64_t i = 0; i < mapping.pages; ++i) {
      const std::uint64_t pfn = mapping.first_pfn + i;
      set_entry(mapping.pid, mapping.start + i * kPageSize, kPresent | pfn);
      set_count(pfn, ++counts_[pfn]);
    }
  }

  void set_entry(pid_t pid, Hva address, std::uint64_t entry) {
    write_at(place(pid, "pagemap"), address.value() / kPageSize, entry);
  }
  void set_count(std::uint64_t pfn, std::uint64_t count) {
    write_at("/proc/kpagecount", pfn, count);
  }
  void set_flags(std::uint64_t pfn, std::uint64_t flags) {
    write_at("/proc/kpageflags", pfn, flags);
  }
  void append(pid_t pid, const std::string& file, const std::string& text) {
    std::ofstream(root_.root().path(place(pid, file)), std::ios::app) << text;
  }

  // A file outside of /proc, and its identity.
  FileId make_file(const std::string& name) {
    root_.add(name);
    struct stat status{};
    EXPECT_EQ(::stat(root_.root().path(name).c_str(), &status), 0);
    return {status.st_dev, status.st_ino};
  }
  void open_file(pid_t pid, int number, const std::string& target) {
    std::filesystem::create_symlink(target,
                                    root_.root().path(place(pid, "fd/" + std::to_string(number))));
  }
  // As a driver maps memory: in `maps`, and not in the page tables.
  void map_device(const Mapping& mapping, const std::string& device) {
    append(mapping.pid, "maps", maps_line(mapping));
    std::ostringstream name;
    name << "map_files/" << std::hex << mapping.start.value() << '-'
         << mapping.start.value() + mapping.pages * kPageSize;
    const std::string link = root_.root().path(place(mapping.pid, name.str()));
    std::filesystem::create_directories(std::filesystem::path(link).parent_path());
    std::filesystem::create_symlink(device, link);
  }
  std::string path(const std::string& name) const { return root_.root().path(name); }
  Root root() const { return root_.root(); }
  FakeRoot& files() { return root_; }

  static constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;

 private:
  static std::string maps_line(const Mapping& mapping) {
    std::ostringstream line;
    line << std::hex << mapping.start.value() << '-'
         << mapping.start.value() + mapping.pages * kPageSize << " rw-s " << mapping.file_offset
         << ' ' << (mapping.file.device >> 8) << ':' << (mapping.file.device & 0xff) << std::dec
         << ' ' << mapping.file.inode << "    " << mapping.path << '\n';
    return line.str();
  }
  static std::string place(pid_t pid, const std::string& file) {
    return "/proc/" + std::to_string(pid) + "/" + file;
  }
  void write_array(const std::string& file, const std::string& content) {
    root_.add(file, content);
  }
  void write_at(const std::string& file, std::uint64_t index, std::uint64_t value) {
    std::fstream stream(root_.root().path(file), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(index * sizeof value));
    std::string bytes;
    for (unsigned i = 0; i < sizeof value; ++i) {
      bytes.push_back(static_cast<char>(value >> (8 * i)));
    }
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  FakeRoot root_;
  std::map<std::uint64_t, std::uint64_t> counts_;
};

}  // namespace bulkhead::host
