// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "boot/boot_params.h"
#include "boot/layout.h"
#include "kvm/entry.h"

namespace bulkhead {
class GuestMemory;
}

namespace bulkhead::boot {

// Everything that is needed to start a kernel. The descriptors are borrowed, are read with pread
// only, and may be used again for the next start (a reboot in place).
struct BootRequest {
  int kernel_fd = -1;  // a bzImage, an ELF vmlinux, or a file that unpack_cached() made
  std::optional<int> initrd_fd{};
  std::string_view command_line;
  std::uint32_t cpu_count = 1;
  PciWindow
      pci_window64;  // of layout.h's pci_window64(); an argument so that the caller can move it
  bool tpm = false;
};

// How the boot processor starts.
using Entry = std::variant<kvm::LongModeEntry, kvm::ProtectedModeEntry>;

struct Loaded {
  Entry entry;
  LoadedRange initrd;
  LoadedRange acpi_tables;
};

// Puts kernel, initrd, command line, ACPI tables and boot parameters into guest memory that is
// still all zero. The error's text says what is wrong with which file ("the kernel is truncated").
Result<Loaded> load(GuestMemory& memory, const BootRequest& request);

// Puts the TPM's event log where the ACPI tables say. kExhausted beyond kEventLogCapacity.
Result<void> write_event_log(GuestMemory& memory, std::span<const std::byte> log);

}  // namespace bulkhead::boot
