// SPDX-License-Identifier: Apache-2.0
#include "devices/pvpanic.h"

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::uint32_t kStateVersion = 1;

constexpr PciIdentity kIdentity = {
    .vendor = 0x1b36,
    .device = 0x0011,
    .subsystem_vendor = 0x1b36,
    .subsystem = 0x0011,
    .class_code = 0x088000,  // another system peripheral
    .revision = 1,
};

}  // namespace

void PvpanicRegister::read(std::uint64_t offset, std::span<std::byte> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  if (offset == 0 && !bytes.empty()) bytes[0] = std::byte{kPanicked | kCrashLoaded};
}

// A panic comes first: with both bits the guest does not go on.
void PvpanicRegister::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset != 0 || bytes.empty()) return;
  const auto value = std::to_integer<std::uint8_t>(bytes[0]);
  if ((value & kPanicked) != 0) {
    events_.panicked();
  } else if ((value & kCrashLoaded) != 0) {
    events_.crash_loaded();
  }
}

Pvpanic::Pvpanic(PowerEvents& events, Bus& mmio) : PciFunction(kIdentity, mmio), register_(events) {
  add_bar({.index = kBar, .size = kPageSize}, register_);
}

std::string_view Pvpanic::name() const {
  return "pvpanic";
}

void Pvpanic::save(StateWriter& writer) const {
  writer.put(kStateVersion);
  save_registers(writer);
}

Result<void> Pvpanic::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint32_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "state of the pvpanic device: other version"};
  }
  return restore_registers(reader);
}

}  // namespace bulkhead
