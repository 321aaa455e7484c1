// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "boot/boot_params.h"
#include "boot/layout.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot::acpi {

struct Config {
  std::uint32_t cpu_count = 1;  // APIC IDs are 0 to cpu_count - 1
  PciWindow pci_window64;
  bool tpm = false;
  // Further finished tables to list in the XSDT, for devices that bring one (SSDTs).
  std::span<const std::vector<std::byte>> extra_tables = {};
};

// All tables as they lie in guest memory from `base` on, the RSDP first.
std::vector<std::byte> make_tables(Gpa base, const Config& config);

// Writes them at kAcpiBase.
Result<LoadedRange> write_tables(GuestMemory& memory, const Config& config);

}  // namespace bulkhead::boot::acpi
