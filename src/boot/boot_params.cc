// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_params.h"

#include <algorithm>
#include <span>

#include "base/byte_reader.h"

namespace bulkhead::boot {
namespace {

// Offsets in boot_params that are not in the setup header (zero-page.rst).
constexpr std::size_t kAcpiRsdpAddr = 0x070;     // u64
constexpr std::size_t kExtRamdiskImage = 0x0c0;  // u32, the high half of ramdisk_image
constexpr std::size_t kExtRamdiskSize = 0x0c4;
constexpr std::size_t kExtCmdLinePtr = 0x0c8;
constexpr std::size_t kE820Entries = 0x1e8;  // u8
constexpr std::size_t kE820Table = 0x2d0;    // 128 entries of 20 bytes
constexpr std::size_t kE820EntryBytes = 20;

constexpr std::uint8_t kLoaderUndefined = 0xff;
constexpr std::uint8_t kLoadedHigh = 1U << 0;
constexpr std::uint8_t kKaslrFlag = 1U << 1;
constexpr std::uint16_t kVidModeNormal = 0xffff;

constexpr std::uint32_t kSetupRngSeed = 9;

// A 64-bit value whose halves lie apart, the low one at `low_at`.
struct SplitField {
  std::size_t low_at;
  std::size_t high_at;
};
void put_split(std::span<std::byte> page, SplitField at, std::uint64_t value) {
  put_le(page, at.low_at, static_cast<std::uint32_t>(value));
  put_le(page, at.high_at, static_cast<std::uint32_t>(value >> 32));
}

void put_memory_map(std::span<std::byte> page, const MemoryMap& map) {
  std::size_t at = kE820Table;
  for (const MemoryMapEntry& entry : map.entries()) {
    put_le(page, at, entry.base.value());
    put_le(page, at + 8, entry.size_bytes);
    put_le(page, at + 16, static_cast<std::uint32_t>(entry.type));
    at += kE820EntryBytes;
  }
  put_le(page, kE820Entries, static_cast<std::uint8_t>(map.entries().size()));
}

}  // namespace

BootParams make_boot_params(const BootParamsInput& input) {
  BootParams params{};
  const std::span page(params);
  std::ranges::copy(input.header, params.begin() + kSetupHeaderOffset);

  auto flags = get_le<std::uint8_t>(page, setup::kLoadFlags);
  flags = static_cast<std::uint8_t>((flags & ~kKaslrFlag) | kLoadedHigh);
  if (input.kaslr) flags |= kKaslrFlag;
  put_le(page, setup::kLoadFlags, flags);
  put_le(page, setup::kTypeOfLoader, kLoaderUndefined);
  put_le(page, setup::kVidMode, kVidModeNormal);
  put_le(page, setup::kSetupData, input.setup_data.value());

  put_split(page, {setup::kCmdLinePtr, kExtCmdLinePtr}, input.command_line.value());
  put_split(page, {setup::kRamdiskImage, kExtRamdiskImage}, input.initrd.base.value());
  put_split(page, {setup::kRamdiskSize, kExtRamdiskSize}, input.initrd.size_bytes);
  put_le(page, kAcpiRsdpAddr, input.rsdp.value());
  put_memory_map(page, input.memory_map);
  return params;
}

RngSeedNode make_rng_seed_node(const RngSeed& seed) {
  RngSeedNode node{};
  const std::span bytes(node);
  put_le(bytes, 0, std::uint64_t{0});  // no further node
  put_le(bytes, 8, kSetupRngSeed);
  put_le(bytes, 12, static_cast<std::uint32_t>(seed.size()));
  std::ranges::copy(seed, node.begin() + 16);
  return node;
}

}  // namespace bulkhead::boot
