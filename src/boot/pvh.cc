// SPDX-License-Identifier: Apache-2.0
#include "boot/pvh.h"

#include <bit>
#include <cstddef>
#include <cstdint>

namespace bulkhead::boot {
namespace {

struct HvmStartInfo {
  std::uint32_t magic = 0x336ec578;  // "xEn3" with the 0x80 bit of the "E" set
  std::uint32_t version = 1;
  std::uint32_t flags = 0;
  std::uint32_t nr_modules = 0;
  std::uint64_t modlist_paddr = 0;
  std::uint64_t cmdline_paddr = 0;
  std::uint64_t rsdp_paddr = 0;
  std::uint64_t memmap_paddr = 0;
  std::uint32_t memmap_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModlistEntry {
  std::uint64_t paddr = 0;
  std::uint64_t size = 0;
  std::uint64_t cmdline_paddr = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(HvmModlistEntry) == 32);

struct HvmMemmapTableEntry {
  std::uint64_t addr = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmMemmapTableEntry) == 24);

// The three as they lie in guest memory.
struct Page {
  HvmStartInfo info;
  HvmModlistEntry module;
  std::array<HvmMemmapTableEntry, MemoryMap::kCapacity> memory_map;
};
static_assert(sizeof(Page) == sizeof(StartInfo));

}  // namespace

StartInfo make_start_info(Gpa at, const StartInfoInput& input) {
  Page page;
  page.info.cmdline_paddr = input.command_line.value();
  page.info.rsdp_paddr = input.rsdp.value();
  page.info.memmap_paddr = (at + offsetof(Page, memory_map)).value();
  page.info.memmap_entries = static_cast<std::uint32_t>(input.memory_map.entries().size());
  if (input.initrd.size_bytes != 0) {
    page.info.nr_modules = 1;
    page.info.modlist_paddr = (at + offsetof(Page, module)).value();
    page.module = {.paddr = input.initrd.base.value(), .size = input.initrd.size_bytes};
  }
  auto* out = page.memory_map.data();
  for (const MemoryMapEntry& entry : input.memory_map.entries()) {
    *out++ = {.addr = entry.base.value(),
              .size = entry.size_bytes,
              .type = static_cast<std::uint32_t>(entry.type)};
  }
  return std::bit_cast<StartInfo>(page);
}

}  // namespace bulkhead::boot
