// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/function.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace bulkhead {
namespace {

// PCI Local Bus 3.0 §6.2.5.1: memory, 64 bits wide.
constexpr std::uint32_t kBar64 = 0b100;
constexpr std::uint32_t kBarFlags = 0xf;

constexpr std::size_t bar_offset(std::size_t index) {
  return pci::kBar0 + 4 * index;
}

}  // namespace

void PciFunction::unmap_bars() {
  for (const Bar& bar : bars_) {
    if (bar.mapped) mmio_.remove(bar.mapped->value());
  }
}

void PciFunction::add_bar(const BarSpec& spec, BusDevice& device) {
  CHECK(spec.index + (spec.is_64bit ? 1 : 0) < kBars);
  CHECK(std::has_single_bit(spec.size) && spec.size >= 16);
  CHECK(spec.is_64bit || spec.size <= 2 * kGiB);
  MutexLock lock(config_lock_);
  bars_[spec.index] = {spec.size, spec.is_64bit, &device, std::nullopt};
  // Address bits below the size read as zero: that is how the guest finds it out.
  const std::uint64_t mask = ~(spec.size - 1);
  const std::size_t offset = bar_offset(spec.index);
  config_.set_writable<std::uint32_t>(offset, static_cast<std::uint32_t>(mask) & ~kBarFlags);
  if (!spec.is_64bit) return;
  config_.set<std::uint32_t>(offset, kBar64);
  config_.set_writable<std::uint32_t>(offset + 4, static_cast<std::uint32_t>(mask >> 32));
}

void PciFunction::assign_bar(std::size_t index, Gpa base) {
  MutexLock lock(config_lock_);
  const Bar& bar = bars_[index];
  CHECK(bar.size != 0 && base.value() % bar.size == 0);
  CHECK(bar.is_64bit || range_fits(base.value(), bar.size, 4 * kGiB));
  const std::size_t offset = bar_offset(index);
  const std::uint32_t flags = config_.get<std::uint32_t>(offset) & kBarFlags;
  config_.set<std::uint32_t>(offset, static_cast<std::uint32_t>(base.value()) | flags);
  if (bar.is_64bit) {
    config_.set<std::uint32_t>(offset + 4, static_cast<std::uint32_t>(base.value() >> 32));
  }
  apply_registers();
  publish();
}

void PciFunction::show_in(std::span<std::byte> page) {
  CHECK(page.size() == kConfigPageBytes);
  std::ranges::fill(page, std::byte{0xff});  // beyond the registers nothing is there
  MutexLock lock(config_lock_);
  page_ = page;
  publish();
}

// The guest may read meanwhile: it sees old or new bytes, as it would have a moment before or
// after.
void PciFunction::publish() {
  if (!page_.empty()) std::ranges::copy(config_.bytes(), page_.begin());
}

void PciFunction::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  MutexLock lock(config_lock_);
  before_config_read({offset, bytes.size()});
  config_.read(offset, bytes);
}

void PciFunction::write_config(std::uint64_t offset, std::span<const std::byte> bytes) {
  MutexLock lock(config_lock_);
  config_.write(offset, bytes);
  apply_registers();
  after_config_write({offset, bytes.size()});
  publish();
}

std::optional<Gpa> PciFunction::wanted_base(std::size_t index) const {
  const Bar& bar = bars_[index];
  if (bar.size == 0) return std::nullopt;
  if ((config_.get<std::uint16_t>(pci::kCommand) & pci::kCommandMemory) == 0) return std::nullopt;
  const std::size_t offset = bar_offset(index);
  std::uint64_t base = config_.get<std::uint32_t>(offset) & ~kBarFlags;
  if (bar.is_64bit) base |= std::uint64_t{config_.get<std::uint32_t>(offset + 4)} << 32;
  return Gpa(base);
}

void PciFunction::apply_registers() {
  for (std::size_t index = 0; index < kBars; ++index) {
    const std::optional<Gpa> base = wanted_base(index);
    if (base != bars_[index].mapped) move_bar(index, base);
  }
  const std::uint16_t command = config_.get<std::uint16_t>(pci::kCommand);
  bus_master_.store((command & pci::kCommandBusMaster) != 0, std::memory_order_release);
  registers_changed();
}

// The guest may put a BAR anywhere, also where another device is: then the first one keeps the
// place, and this BAR is not reachable until it is moved again. RAM always wins over any BAR.
void PciFunction::move_bar(std::size_t index, std::optional<Gpa> base) {
  Bar& bar = bars_[index];
  if (bar.mapped) mmio_.remove(bar.mapped->value());
  const bool was_mapped = bar.mapped.has_value();
  bar.mapped.reset();
  if (base) {
    if (const auto added = mmio_.add({base->value(), bar.size}, *bar.device); added) {
      bar.mapped = base;
    } else if (log_limit_.allow()) {
      log_info("pci_bar_not_mapped", {{"device", name()}, {"bar", index}, {"gpa", *base}});
    }
  }
  if (was_mapped || bar.mapped) bar_moved(index, bar.mapped);
}

void PciFunction::save_registers(StateWriter& writer) const {
  MutexLock lock(config_lock_);
  writer.put(std::uint8_t{1});  // version
  config_.save(writer);
}

Result<void> PciFunction::restore_registers(StateReader& reader) {
  if (TRY(reader.get<std::uint8_t>()) != 1) {
    return Error{Errc::kUnsupported, 0, "a saved PCI function of an unknown version"};
  }
  MutexLock lock(config_lock_);
  TRY(config_.restore(reader));
  apply_registers();
  publish();
  return {};
}

}  // namespace bulkhead
