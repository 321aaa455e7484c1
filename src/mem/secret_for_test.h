// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <span>
#include <utility>

#include "base/address.h"
#include "base/fd.h"
#include "base/mapping.h"

// For tests: whether plaintext is left in the memory of this process.

namespace bulkhead {

// Some bytes that no program has by itself, kept so that a search for them does not find them here.
class Secret {
 public:
  static constexpr std::size_t kBytes = 40;

  Secret() {
    for (std::size_t i = 0; i < masked_.size(); ++i) {
      masked_[i] = static_cast<unsigned char>((i * 89 + 17) % 251);
    }
  }
  void write_to(std::byte* place) const {
    for (std::size_t i = 0; i < masked_.size(); ++i) {
      place[i] = static_cast<std::byte>(masked_[i] ^ kMask);
    }
  }

 private:
  static constexpr unsigned char kMask = 0x5c;
  std::array<unsigned char, kBytes> masked_;
};

// Searches what this process maps. Allocates nothing meanwhile, which could overwrite what was
// freed and is looked for.
class ProcessSearch {
 public:
  // Whether the secret is anywhere but in one whole mapping.
  static bool finds(const Secret& secret, std::span<const std::byte> but) {
    const ProcessSearch search(secret);
    const auto skipped = std::bit_cast<std::uintptr_t>(but.data());
    std::size_t length = 0;
    for (const char* line = search.maps(); *line != '\0'; line += length + 1) {
      length = ::strcspn(line, "\n");
      const auto range = parse(line);
      if (range.first >= skipped && range.first < skipped + but.size()) continue;
      if (search.found_in(range)) return true;
    }
    return false;
  }

 private:
  using Range = std::pair<std::uintptr_t, std::uintptr_t>;
  static constexpr std::size_t kMapsBytes = 4 * kMiB;
  static constexpr std::size_t kStep = 2 * kMiB;
  static constexpr std::size_t kOverlap = kPageSize;
  static constexpr unsigned kSwappedBit = 62;  // present is 63 (Linux, admin-guide/mm/pagemap)
  static constexpr std::size_t kLargest = 64 * kGiB;  // leaves out what sanitizers reserve

  const char* maps() const {
    char* text = static_cast<char*>(static_cast<void*>(scratch_.data()));
    const Fd file = Fd::open("/proc/self/maps", O_RDONLY).value();
    std::size_t used = 0;
    while (used < kMapsBytes - 1) {
      const ssize_t got = ::read(file.get(), text + used, kMapsBytes - 1 - used);
      if (got <= 0) break;
      used += static_cast<std::size_t>(got);
    }
    return text;
  }

  // Empty if the mapping cannot be read, or is larger than a machine's memory.
  static Range parse(const char* line) {
    unsigned long start = 0;
    unsigned long end = 0;
    char readable = 0;
    if (std::sscanf(line, "%lx-%lx %c", &start, &end, &readable) != 3) return {};
    return readable == 'r' && end - start <= kLargest ? Range(start, end) : Range();
  }

  explicit ProcessSearch(const Secret& secret) {
    secret.write_to(scratch_.bytes().last(Secret::kBytes).data());
  }

  bool found_in(const Range& range) const {
    if (range.first == std::bit_cast<std::uintptr_t>(scratch_.data())) return false;
    for (std::uintptr_t at = range.first; at < range.second; at += kStep) {
      const std::span<const std::byte> bytes = read(at, present(at, range.second));
      const void* secret = scratch_.bytes().last(Secret::kBytes).data();
      if (::memmem(bytes.data(), bytes.size(), secret, Secret::kBytes) != nullptr) return true;
    }
    return false;
  }

  // How much of one step to read: up to the last page that the kernel has, in memory or swapped
  // out. Most of what is reserved was never touched, and reading it would bring it in.
  std::size_t present(std::uintptr_t start, std::uintptr_t end) const {
    std::array<std::uint64_t, (kStep + kOverlap) / kPageSize> entries{};
    const std::size_t pages = std::min<std::size_t>((end - start) / kPageSize, entries.size());
    const auto offset = static_cast<off_t>(start / kPageSize * sizeof entries[0]);
    [[maybe_unused]] auto got =
        ::pread(pagemap_.get(), entries.data(), pages * sizeof entries[0], offset);
    const auto last = std::find_if(entries.rbegin(), entries.rend(),
                                   [](std::uint64_t entry) { return entry >> kSwappedBit != 0; });
    return static_cast<std::size_t>(entries.rend() - last) * kPageSize;
  }

  std::span<const std::byte> read(std::uintptr_t start, std::size_t size) const {
    const std::span<std::byte> bytes = scratch_.bytes().subspan(kMapsBytes, size);
    const ssize_t got =
        ::pread(memory_.get(), bytes.data(), bytes.size(), static_cast<off_t>(start));
    return bytes.first(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }

  const Fd memory_ = Fd::open("/proc/self/mem", O_RDONLY).value();
  const Fd pagemap_ = Fd::open("/proc/self/pagemap", O_RDONLY).value();
  const Mapping scratch_ = Mapping::create({.size_bytes = kMapsBytes + kStep + 2 * kOverlap,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_SHARED | MAP_ANONYMOUS})
                               .value();
};

}  // namespace bulkhead
