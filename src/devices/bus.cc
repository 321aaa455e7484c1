// SPDX-License-Identifier: Apache-2.0
#include "devices/bus.h"

#include <algorithm>
#include <mutex>

#include "base/address.h"

namespace bulkhead {

Result<void> Bus::add(Range range, BusDevice& device) {
  if (range.size == 0 || !range_fits(range.base, range.size, limit_)) {
    return Error{Errc::kOutOfRange, 0, "a device's range lies outside of the bus"};
  }
  std::unique_lock lock(mutex_);
  auto next = std::find_if(entries_.begin(), entries_.end(),
                           [&](const Entry& entry) { return entry.range.base >= range.base; });
  const bool hits_next = next != entries_.end() && next->range.base - range.base < range.size;
  const bool hits_previous =
      next != entries_.begin() && range.base - (next - 1)->range.base < (next - 1)->range.size;
  if (hits_next || hits_previous) {
    return Error{Errc::kExists, 0, "a device's range overlaps another's"};
  }
  entries_.insert(next, Entry{range, &device});
  return {};
}

void Bus::remove(std::uint64_t base) {
  std::unique_lock lock(mutex_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.range.base == base; });
}

const Bus::Entry* Bus::find(std::uint64_t address, std::uint64_t size) const {
  auto after = std::upper_bound(
      entries_.begin(), entries_.end(), address,
      [](std::uint64_t value, const Entry& entry) { return value < entry.range.base; });
  if (after == entries_.begin()) return nullptr;
  const Entry& entry = *(after - 1);
  return range_fits(address - entry.range.base, size, entry.range.size) ? &entry : nullptr;
}

// The device is called without the lock: it may itself add or remove ranges (PCI BARs). Devices
// live as long as the bus is used, so a device that has just been removed may be called once more.
bool Bus::read(std::uint64_t address, std::span<std::byte> bytes) const {
  std::shared_lock lock(mutex_);
  const Entry* entry = find(address, bytes.size());
  if (entry == nullptr) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    return false;
  }
  const Entry found = *entry;
  lock.unlock();
  found.device->read(address - found.range.base, bytes);
  return true;
}

bool Bus::write(std::uint64_t address, std::span<const std::byte> bytes) const {
  std::shared_lock lock(mutex_);
  const Entry* entry = find(address, bytes.size());
  if (entry == nullptr) return false;
  const Entry found = *entry;
  lock.unlock();
  found.device->write(address - found.range.base, bytes);
  return true;
}

}  // namespace bulkhead
