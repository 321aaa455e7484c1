// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/address.h"
#include "mem/guest_memory.h"

// The guest-physical address space of a partition, in one table. RAM is [0, min(size, 3 GiB)) and
// the rest from 4 GiB up; everything below is what the monitor itself puts where.
//
//   0x0000_0500 … 0x0000_0fff  free (the kernel writes the reboot mode at 0x472)
//   0x0000_1000  GDT of the boot processor
//   0x0000_2000  boot_params, the "zero page" (64-bit boot protocol)
//   0x0000_3000  hvm_start_info, its module list and memory map (PVH)
//   0x0000_4000  setup_data: the random seed
//   0x0000_8000  page tables: PML4, PDPT, four page directories that map the low 4 GiB
//   0x0002_0000  command line (at most 64 KiB)
//   0x0009_fc00 … 0x000f_ffff  reserved (EBDA, video memory, option ROMs)
//   0x000e_0000 … 0x000e_ffff  ACPI tables, the RSDP first
//   0x000f_0000 … 0x000f_ffff  the TPM's event log
//   0x0010_0000  RAM: kernel, initrd near the top
//   0xc000_0000 … 0xdfff_ffff  32-bit PCI window
//   0xe000_0000 … 0xe00f_ffff  PCI ECAM, bus 0
//   0xfec0_0000  IOAPIC
//   0xfed4_0000  TPM (devices/tpm_crb.h)
//   0xfee0_0000  local APIC
//   0x1_0000_0000  RAM beyond 3 GiB
//   the first 128 MiB boundary from there: RAM that comes and goes (mem/ram_layout.h)
//   the first GiB boundary from the end of that, not below 8 GiB: 64-bit PCI window

namespace bulkhead::boot {

inline constexpr Gpa kGdtBase{0x1000};
inline constexpr Gpa kZeroPageBase{0x2000};
inline constexpr Gpa kStartInfoBase{0x3000};
inline constexpr Gpa kSetupDataBase{0x4000};
inline constexpr Gpa kPageTableBase{0x8000};
inline constexpr Gpa kCommandLineBase{0x20000};
inline constexpr std::uint64_t kCommandLineCapacity = 64 * kKiB;
inline constexpr Gpa kEbdaBase{0x9fc00};
inline constexpr Gpa kAcpiBase{0xe0000};
inline constexpr std::uint64_t kAcpiCapacity = 64 * kKiB;
// TCG PC Client Platform Firmware Profile: at least 64 KiB.
inline constexpr Gpa kEventLogBase{0xf0000};
inline constexpr std::uint64_t kEventLogCapacity = 64 * kKiB;
inline constexpr Gpa kHighMemoryBase{1 * kMiB};  // what PC people call "extended" memory

inline constexpr std::uint64_t kLowRamLimit = GuestMemory::kLowLimit;
inline constexpr Gpa kHighRamBase{GuestMemory::kHighBase};

struct PciWindow {
  Gpa base;
  std::uint64_t size_bytes = 0;
};

inline constexpr PciWindow kPciWindow32{Gpa{0xc0000000}, 512 * kMiB};
inline constexpr PciWindow kPciEcam{Gpa{0xe0000000}, 1 * kMiB};
inline constexpr Gpa kIoapicBase{0xfec00000};
inline constexpr Gpa kLocalApicBase{0xfee00000};

// The 64-bit PCI window of a partition with such RAM: 64 GiB from the first GiB boundary above all
// that is RAM or may become it, and not below 8 GiB. The caller checks that it fits the CPU's
// physical address width.
constexpr PciWindow pci_window64(const RamLayout& ram) {
  const std::uint64_t base = align_up(ram.end().value(), kGiB);
  return {Gpa{base < 8 * kGiB ? 8 * kGiB : base}, 64 * kGiB};
}
// The same when RAM cannot grow.
constexpr PciWindow pci_window64(std::uint64_t ram_bytes) {
  return pci_window64(RamLayout::of(ram_bytes, ram_bytes));
}

}  // namespace bulkhead::boot
