// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_reader.h"
#include "devices/bus.h"
#include "devices/interrupts.h"
#include "devices/pci/function.h"

// For unit tests and fuzz targets only: interrupt and doorbell controllers without KVM, and short
// ways to registers.

namespace bulkhead {

// Remembers what each vector was programmed with, and what was sent.
class FakeMsiController : public MsiController {
 public:
  struct Record {
    std::vector<MsiMessage> programmed;
    std::vector<MsiMessage> sent;
  };

  Result<std::unique_ptr<MsiVector>> create_vector() override {
    if (records.size() == vector_limit) return Error{Errc::kExhausted, 0, "no more vectors"};
    records.push_back(std::make_unique<Record>());
    return std::unique_ptr<MsiVector>(new Vector(*this, *records.back()));
  }
  std::size_t sent(std::size_t vector) const {
    std::lock_guard lock(mutex_);
    return records.at(vector)->sent.size();
  }

  std::vector<std::unique_ptr<Record>> records;
  std::size_t vector_limit = 1000;
  bool refuse = false;

 private:
  class Vector : public MsiVector {
   public:
    Vector(FakeMsiController& owner, Record& record) : owner_(owner), record_(record) {}
    Result<void> program(const MsiMessage& message) override {
      std::lock_guard lock(owner_.mutex_);
      if (owner_.refuse) return Error{Errc::kIo, 0, "refused by the test"};
      record_.programmed.push_back(message);
      return {};
    }
    void trigger() override {
      std::lock_guard lock(owner_.mutex_);
      CHECK(!record_.programmed.empty());
      record_.sent.push_back(record_.programmed.back());
    }

   private:
    FakeMsiController& owner_;
    Record& record_;
  };

  mutable std::mutex mutex_;
};

// Signals the attached eventfds on write(), as KVM does.
class FakeDoorbellController : public DoorbellController {
 public:
  Result<void> attach(const Doorbell& doorbell, const Fd& event) override {
    std::lock_guard lock(mutex_);
    if (refuse) return Error{Errc::kIo, 0, "refused by the test"};
    CHECK(attached_.emplace(doorbell.address.value(), event.get()).second);
    return {};
  }
  void detach(const Doorbell& doorbell, const Fd& event) override {
    std::lock_guard lock(mutex_);
    auto found = attached_.find(doorbell.address.value());
    CHECK(found != attached_.end() && found->second == event.get());
    attached_.erase(found);
  }
  bool write(std::uint64_t address) {
    std::lock_guard lock(mutex_);
    auto found = attached_.find(address);
    if (found == attached_.end()) return false;
    signal_event(found->second);
    return true;
  }
  std::size_t count() const {
    std::lock_guard lock(mutex_);
    return attached_.size();
  }

  bool refuse = false;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, int> attached_;
};

// A register file that remembers the last write.
class FakeRegisters : public BusDevice {
 public:
  std::string_view name() const override { return "fake-registers"; }
  void read(std::uint64_t offset, std::span<std::byte> bytes) override {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(offset++);
  }
  void write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    last_offset = offset;
    last_size = bytes.size();
    ++writes;
  }

  std::uint64_t last_offset = 0;
  std::size_t last_size = 0;
  int writes = 0;
};

template <std::unsigned_integral T>
T read_register(BusDevice& device, std::uint64_t offset) {
  T value = 0;
  device.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
template <std::unsigned_integral T>
void write_register(BusDevice& device, std::uint64_t offset, std::type_identity_t<T> value) {
  device.write(offset, std::as_bytes(std::span(&value, 1)));
}
template <std::unsigned_integral T>
T read_bus(const Bus& bus, std::uint64_t address) {
  T value = 0;
  bus.read(address, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
template <std::unsigned_integral T>
bool write_bus(const Bus& bus, std::uint64_t address, std::type_identity_t<T> value) {
  return bus.write(address, std::as_bytes(std::span(&value, 1)));
}
template <std::unsigned_integral T>
T read_config(PciFunction& function, std::uint64_t offset) {
  T value = 0;
  function.read_config(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
template <std::unsigned_integral T>
void write_config(PciFunction& function, std::uint64_t offset, std::type_identity_t<T> value) {
  function.write_config(offset, std::as_bytes(std::span(&value, 1)));
}

}  // namespace bulkhead
