// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "devices/interrupts.h"
#include "devices/state.h"

namespace bulkhead {

namespace pci {
inline constexpr std::uint8_t kCapabilityMsix = 0x11;
// Message control, at offset 2 of the capability: PCI Local Bus 3.0 §6.8.2.3.
inline constexpr std::uint16_t kMsixFunctionMask = 1 << 14;
inline constexpr std::uint16_t kMsixEnable = 1 << 15;
}  // namespace pci

// A function's MSI-X table and pending bits (PCI Local Bus 3.0 §6.8.2). A vector of the controller
// is programmed when its entry is first unmasked, and again only when the message has changed: each
// costs an update of KVM's routing table.
//
// Thread-safe. Its lock is the innermost of a device: nothing is called with it but the vectors.
class Msix {
 public:
  static constexpr std::uint16_t kMaxVectors = 256;  // each of 16 bytes: the table fits a page

  // In the BAR named in the capability.
  struct Place {
    std::uint8_t bar = 0;
    std::uint32_t table = 0;  // offsets, multiples of 8
    std::uint32_t pending = 0;
  };

  static Result<std::unique_ptr<Msix>> create(MsiController& controller, std::uint16_t vectors);

  std::uint16_t vectors() const { return static_cast<std::uint16_t>(entries_.size()); }
  // What follows the first two bytes of the capability.
  std::array<std::byte, 10> capability(const Place& place) const;

  struct Control {
    bool enabled = false;
    bool masked = false;  // all vectors: by the function mask, or because the function is no master
  };
  void set_control(const Control& control);

  // For accesses with offsets from the table's and the pending bits' starts. Those that are not 4
  // or 8 bytes, aligned, read as zero and write nowhere.
  void read_table(std::uint64_t offset, std::span<std::byte> bytes) const;
  void write_table(std::uint64_t offset, std::span<const std::byte> bytes);
  void read_pending(std::uint64_t offset, std::span<std::byte> bytes) const;

  // Sends a vector's message, or notes it as pending while it is masked. Nothing when MSI-X is off
  // or there is no such vector. Returns whether MSI-X is on.
  bool trigger(std::uint16_t vector);

  void save(StateWriter& writer) const;
  // The controls are not part of it: they follow from configuration space.
  Result<void> restore(StateReader& reader);

 private:
  using Words = std::array<std::uint32_t, 4>;  // address, its upper half, data, vector control

  struct Entry {
    Words words{};
    bool pending = false;
    bool programmed = false;  // with `message`
    MsiMessage message;
    std::unique_ptr<MsiVector> vector;
  };

  Msix() = default;
  bool deliverable(const Entry& entry) const REQUIRES(mutex_);
  // Brings a vector up to date after its entry or the controls have changed.
  void update(Entry& entry) REQUIRES(mutex_);

  mutable Mutex mutex_;
  Control control_ GUARDED_BY(mutex_);
  LogLimiter log_limit_;
  std::vector<Entry> entries_;  // their content with mutex_; their number is fixed
};

}  // namespace bulkhead
