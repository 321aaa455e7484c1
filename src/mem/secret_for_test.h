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
  bool is_in(std::span<const std::byte> bytes) const {
    const auto same = [](std::byte byte, unsigned char masked) {
      return byte == static_cast<std::byte>(masked ^ kMask);
    };
    return std::ranges::search(bytes, masked_, same).begin() != bytes.end();
  }

 private:
  static constexpr unsigned char kMask = 0x5c;
  std::array<unsigned char, 40> masked_;
};

// Searches what this process maps. Allocates nothing meanwhile, which could overwrite what was
// freed and is looked for.
class ProcessSearch {
 public:
  // Whether the secret is anywhere but in one whole mapping.
  static bool finds(const Secret& secret, std::span<const std::byte> but) {
    const ProcessSearch search;
    const auto skipped = std::bit_cast<std::uintptr_t>(but.data());
    std::size_t length = 0;
    for (const char* line = search.maps(); *line != '\0'; line += length + 1) {
      length = ::strcspn(line, "\n");
      const auto range = parse(line);
      if (range.first >= skipped && range.first < skipped + but.size()) continue;
      if (secret.is_in(search.read(range))) return true;
    }
    return false;
  }

 private:
  using Range = std::pair<std::uintptr_t, std::uintptr_t>;
  static constexpr std::size_t kMapsBytes = 4 * kMiB;
  static constexpr std::size_t kLargest = 64 * kMiB;  // leaves out what sanitizers reserve

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

  // Empty if the mapping cannot be read, or is too large.
  static Range parse(const char* line) {
    unsigned long start = 0;
    unsigned long end = 0;
    char readable = 0;
    if (std::sscanf(line, "%lx-%lx %c", &start, &end, &readable) != 3) return {};
    return readable == 'r' && end - start <= kLargest ? Range(start, end) : Range();
  }

  std::span<const std::byte> read(const Range& range) const {
    const std::span<std::byte> bytes =
        scratch_.bytes().subspan(kMapsBytes, range.second - range.first);
    const ssize_t got =
        ::pread(memory_.get(), bytes.data(), bytes.size(), static_cast<off_t>(range.first));
    return bytes.first(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }

  const Fd memory_ = Fd::open("/proc/self/mem", O_RDONLY).value();
  // Too large to be searched itself.
  const Mapping scratch_ = Mapping::create({.size_bytes = kMapsBytes + kLargest,
                                            .protection = PROT_READ | PROT_WRITE,
                                            .flags = MAP_SHARED | MAP_ANONYMOUS})
                               .value();
};

}  // namespace bulkhead
