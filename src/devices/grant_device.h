// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/log.h"
#include "base/thread_annotations.h"
#include "devices/bus.h"
#include "devices/grant_keeper.h"
#include "devices/grant_registers.h"
#include "devices/pci/function.h"

namespace bulkhead {

// The registers by which a guest shares pages of its own, and takes them back
// (docs/formats/grant-device.md). Cells of 32 bits; an access of 64 bits is two of them, the lower
// first. Other accesses do nothing, and read as zero.
class GrantRegisters final : public BusDevice, public Stateful {
 public:
  explicit GrantRegisters(GrantKeeper& keeper) : keeper_(keeper) {}

  std::string_view name() const override { return "grant"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override;

  // With the keeper's state.
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  using Command = grant_device::Command;
  using Status = grant_device::Status;

  // What commands take and give; the guest may write all but the status.
  struct File {
    std::uint64_t first = 0;
    std::uint64_t pages = 0;
    std::uint32_t grantee = 0;
    std::uint32_t rights = 0;
    std::uint32_t handle = 0;
    Status status = Status::kOk;
  };
  static_assert(sizeof(File) == 32);

  std::uint32_t read_cell(std::uint64_t offset) const REQUIRES(mutex_);
  void write_cell(std::uint64_t offset, std::uint32_t value) REQUIRES(mutex_);
  Status run(Command command) REQUIRES(mutex_);
  Status grant() REQUIRES(mutex_);
  Status revoke() REQUIRES(mutex_);
  Status query() REQUIRES(mutex_);
  void note(std::string_view event) REQUIRES(mutex_);

  GrantKeeper& keeper_;
  mutable Mutex mutex_;  // before the keeper's own
  File file_ GUARDED_BY(mutex_);
  LogLimiter limiter_;
};

// The PCI function around them: BAR 0 is a page, so that a program of the guest's root can map it
// (/sys/bus/pci/devices/*/resource0) without a driver.
class GrantDevice final : public PciFunction {
 public:
  static constexpr std::size_t kBar = 0;

  // The keeper outlives the device.
  GrantDevice(GrantKeeper& keeper, Bus& mmio);

  std::string_view name() const override { return "grant"; }
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

 private:
  GrantRegisters registers_;
};

}  // namespace bulkhead
