// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/address.h"
#include "mem/carved_range.h"

namespace bulkhead {

// What /proc and /sys say on a host of 2 GiB that withheld 64 MiB at 0x10000000 from its kernel, as
// the lab's does. Gone with the object.
class FakeHost {
 public:
  static constexpr std::uint64_t kBase = 0x10000000;
  static constexpr std::uint64_t kSize = 64 * kMiB;

  FakeHost() {
    std::string name = std::filesystem::temp_directory_path() / "bulkhead host XXXXXX";
    directory_ = ::mkdtemp(name.data());
    command_line("quiet memmap=64M$0x10000000 root=/dev/vda");
    firmware(0, "0x0", "0x9fbff", "System RAM");
    firmware(1, "0xf0000", "0xfffff", "Reserved");
    firmware(2, "0x100000", "0x7fffffff", "System RAM");
    iomem(
        "00000000-00000fff : Reserved\n"
        "00001000-0009fbff : System RAM\n"
        "000f0000-000fffff : System ROM\n"
        "00100000-0fffffff : System RAM\n"
        "  01000000-01ffffff : Kernel code\n"
        "10000000-13ffffff : Reserved\n"
        "14000000-7fffffff : System RAM\n"
        "c0000000-febfffff : PCI Bus 0000:00\n"
        "  fd000000-fdffffff : 0000:00:02.0");
  }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  ~FakeHost() { std::filesystem::remove_all(directory_); }

  void command_line(std::string_view text) { write("/proc/cmdline", text); }
  void iomem(std::string_view text) { write("/proc/iomem", text); }
  void firmware(unsigned index, std::string_view start, std::string_view end,
                std::string_view type) {
    const std::string entry = "/sys/firmware/memmap/" + std::to_string(index);
    write(entry + "/start", start);
    write(entry + "/end", end);
    write(entry + "/type", type);
  }
  void remove(std::string_view path) { std::filesystem::remove_all(root() + std::string(path)); }
  void write(const std::string& path, std::string_view content) {
    const std::filesystem::path whole = root() + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary) << content << '\n';
  }

  std::string root() const { return directory_.string(); }
  CarvedRange range() const { return CarvedRange::check(kBase, kSize, root()).value(); }

  // A file in the place of /dev/mem: all 0xee, from below the range to above it.
  std::string device() {
    const std::string path = root() + "/mem";
    if (std::filesystem::exists(path)) return path;
    std::ofstream file(path, std::ios::binary);
    file.seekp(static_cast<std::streamoff>(kBase - kFrameSize));
    const std::string frame(kFrameSize, '\xee');
    for (std::uint64_t done = 0; done < kSize + 2 * kFrameSize; done += kFrameSize) file << frame;
    return path;
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace bulkhead
