// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bulkhead {

// What a device shows on a bus. Offsets are relative to the range it was registered with, and
// [offset, offset + size) lies within that range; sizes are 1 to 8 bytes. Called on vCPU threads.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual std::string_view name() const = 0;
  virtual void read(std::uint64_t offset, std::span<std::byte> bytes) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
};

// An address space of devices: one for ports, one for MMIO. Ranges never overlap, so the answer
// does not depend on the order of registration. Thread-safe.
class Bus {
 public:
  // `limit` is the size of the address space: no range may reach beyond it.
  explicit Bus(std::uint64_t limit) : limit_(limit) {}

  struct Range {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
  };

  // Refuses an empty range, one beyond the limit, and one that overlaps another.
  Result<void> add(Range range, BusDevice& device);
  // Removes the range that starts at `base`, if there is one.
  void remove(std::uint64_t base);

  // An access that no device claims whole reads as all ones and writes nowhere; returns false then.
  bool read(std::uint64_t address, std::span<std::byte> bytes) const;
  bool write(std::uint64_t address, std::span<const std::byte> bytes) const;

 private:
  struct Entry {
    Range range;
    BusDevice* device = nullptr;
  };

  // The entry that contains all of the access, or nullptr. The caller holds the mutex.
  const Entry* find(std::uint64_t address, std::uint64_t size) const;

  const std::uint64_t limit_;
  mutable std::shared_mutex mutex_;
  std::vector<Entry> entries_;  // sorted by base
};

}  // namespace bulkhead
