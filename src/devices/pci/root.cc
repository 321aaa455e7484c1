// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/root.h"

#include <algorithm>
#include <vector>

#include "base/address.h"

namespace bulkhead {
namespace {

// A host bridge without any quirk in Linux: Red Hat's generic PCIe host (QEMU's "gpex").
constexpr PciIdentity kHostBridge{
    .vendor = 0x1b36,
    .device = 0x0008,
    .subsystem_vendor = 0x1b36,
    .subsystem = 0x0008,
    .class_code = 0x060000,
    .revision = 0,
};

constexpr std::uint32_t kAddressEnable = std::uint32_t{1} << 31;
constexpr std::uint32_t kAddressMask = 0x80fffffc;  // the reserved bits read as zero

void fill_ones(std::span<std::byte> bytes) {
  std::ranges::fill(bytes, std::byte{0xff});
}

bool well_formed(std::uint64_t offset, std::size_t length) {
  return (length == 1 || length == 2 || length == 4) && offset % length == 0;
}

// Hands out addresses of a window, upwards.
class Allocator {
 public:
  explicit Allocator(const Bus::Range& window) : next_(window.base), left_(window.size) {}

  Result<Gpa> take(std::uint64_t size) {
    const std::uint64_t padding = (size - next_ % size) % size;
    if (padding > left_ || size > left_ - padding) {
      return Error{Errc::kExhausted, 0, "the PCI windows are too small for all devices"};
    }
    const Gpa base(next_ + padding);
    next_ += padding + size;
    left_ -= padding + size;
    return base;
  }

 private:
  std::uint64_t next_;
  std::uint64_t left_;
};

struct Request {
  PciFunction* function = nullptr;
  std::size_t index = 0;
  PciFunction::BarInfo bar;
};

}  // namespace

PciRoot::HostBridge::HostBridge(Bus& mmio) : PciFunction(kHostBridge, mmio) {}

PciRoot::PciRoot(Bus& mmio) : bridge_(mmio) {
  functions_[0] = &bridge_;
}

Result<std::uint8_t> PciRoot::add(PciFunction& function) {
  const auto slot = std::ranges::find(functions_, nullptr);
  if (slot == functions_.end()) {
    return Error{Errc::kExhausted, 0, "too many PCI devices: at most 31"};
  }
  *slot = &function;
  return static_cast<std::uint8_t>(slot - functions_.begin());
}

Result<void> PciRoot::assign_resources(const PciWindows& windows) {
  std::vector<Request> requests;
  for (PciFunction* function : functions_) {
    for (std::size_t i = 0; function != nullptr && i < PciFunction::kBars; ++i) {
      const PciFunction::BarInfo bar = function->bar(i);
      if (bar.size != 0) requests.push_back({function, i, bar});
    }
  }
  // Largest first: then alignment wastes nothing.
  std::ranges::sort(requests, std::ranges::greater{},
                    [](const Request& request) { return request.bar.size; });
  Allocator low(windows.mem32);
  Allocator high(windows.mem64);
  for (const Request& request : requests) {
    const bool use_high = request.bar.is_64bit && windows.mem64.size != 0;
    const Gpa base = TRY((use_high ? high : low).take(request.bar.size));
    request.function->assign_bar(request.index, base);
  }
  return {};
}

PciRoot::Target PciRoot::decode(std::uint64_t ecam_offset, std::size_t length) const {
  const std::uint64_t slot = ecam_offset >> 15;
  const std::uint64_t function = (ecam_offset >> 12) & 7;
  if (slot >= kSlots || function != 0 || !well_formed(ecam_offset, length)) return {};
  return {functions_[slot], ecam_offset & 0xfff};
}

PciRoot::Target PciRoot::decode_port(std::uint64_t port_offset, std::size_t length) const {
  const std::uint32_t address = address_.load(std::memory_order_relaxed);
  if ((address & kAddressEnable) == 0 || port_offset < 4) return {};
  const std::uint64_t data_offset = port_offset - 4;
  if (!well_formed(data_offset, length)) return {};
  // bus 16..23, device 11..15, function 8..10, register 2..7
  const std::uint64_t devfn = (address >> 8) & 0xffff;
  return decode(devfn << 12 | ((address & 0xfc) + data_offset), length);
}

void PciRoot::Ecam::read(std::uint64_t offset, std::span<std::byte> bytes) {
  const Target target = root_.decode(offset, bytes.size());
  if (target.function == nullptr) return fill_ones(bytes);
  target.function->read_config(target.offset, bytes);
}

void PciRoot::Ecam::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  const Target target = root_.decode(offset, bytes.size());
  if (target.function != nullptr) target.function->write_config(target.offset, bytes);
}

void PciRoot::ConfigPorts::read(std::uint64_t offset, std::span<std::byte> bytes) {
  if (offset == 0 && bytes.size() == 4) {
    put_le<std::uint32_t>(bytes, 0, root_.address_.load(std::memory_order_relaxed));
    return;
  }
  if (root_.is_reset_control(offset, bytes.size())) return root_.reset_control_->read(0, bytes);
  const Target target = root_.decode_port(offset, bytes.size());
  if (target.function == nullptr) return fill_ones(bytes);
  target.function->read_config(target.offset, bytes);
}

// Only a double word reaches CONFIG_ADDRESS; smaller accesses are not its.
void PciRoot::ConfigPorts::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset == 0 && bytes.size() == 4) {
    const auto value = get_le<std::uint32_t>(bytes, 0);
    root_.address_.store(value & kAddressMask, std::memory_order_relaxed);
    return;
  }
  if (root_.is_reset_control(offset, bytes.size())) return root_.reset_control_->write(0, bytes);
  const Target target = root_.decode_port(offset, bytes.size());
  if (target.function != nullptr) target.function->write_config(target.offset, bytes);
}

void PciRoot::save(StateWriter& writer) const {
  writer.put(std::uint8_t{1});  // version
  writer.put(address_.load(std::memory_order_relaxed));
  for (const PciFunction* function : functions_) {
    writer.put(static_cast<std::uint8_t>(function != nullptr));
    if (function != nullptr) function->save(writer);
  }
}

Result<void> PciRoot::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint8_t>()) != 1) {
    return Error{Errc::kUnsupported, 0, "a saved PCI bus of an unknown version"};
  }
  address_.store(TRY(reader.get<std::uint32_t>()) & kAddressMask, std::memory_order_relaxed);
  for (PciFunction* function : functions_) {
    if ((TRY(reader.get<std::uint8_t>()) != 0) != (function != nullptr)) {
      return Error{Errc::kMalformed, 0, "a saved PCI bus has other devices"};
    }
    if (function != nullptr) TRY(function->restore(reader));
  }
  return {};
}

}  // namespace bulkhead
