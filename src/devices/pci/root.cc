// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/root.h"

#include <sys/mman.h>

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

void PciRoot::Ecam::read(std::uint64_t offset, std::span<std::byte> bytes) {
  const Target target = root_.decode(offset, bytes.size());
  if (target.function == nullptr) return fill_ones(bytes);
  target.function->read_config(target.offset, bytes);
}

void PciRoot::Ecam::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  const Target target = root_.decode(offset, bytes.size());
  if (target.function != nullptr) target.function->write_config(target.offset, bytes);
}

Result<std::vector<PciRoot::ConfigPage>> PciRoot::show_config_pages() {
  constexpr std::size_t kPage = PciFunction::kConfigPageBytes;
  pages_ = TRY(Mapping::create({.size_bytes = kSlots * kPage,
                                .protection = PROT_READ | PROT_WRITE,
                                .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  std::vector<ConfigPage> pages;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (functions_[slot] == nullptr) continue;
    const std::span<std::byte> page = pages_.bytes().subspan(slot * kPage, kPage);
    functions_[slot]->show_in(page);
    pages.push_back({slot << 15, pages_.host() + slot * kPage});
  }
  return pages;
}

void PciRoot::save(StateWriter& writer) const {
  writer.put(std::uint8_t{1});  // version
  for (const PciFunction* function : functions_) {
    writer.put(static_cast<std::uint8_t>(function != nullptr));
    if (function != nullptr) function->save(writer);
  }
}

Result<void> PciRoot::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint8_t>()) != 1) {
    return Error{Errc::kUnsupported, 0, "a saved PCI bus of an unknown version"};
  }
  for (PciFunction* function : functions_) {
    if ((TRY(reader.get<std::uint8_t>()) != 0) != (function != nullptr)) {
      return Error{Errc::kMalformed, 0, "a saved PCI bus has other devices"};
    }
    if (function != nullptr) TRY(function->restore(reader));
  }
  return {};
}

}  // namespace bulkhead
