// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/config_space.h"

#include <gtest/gtest.h>

namespace bulkhead {
namespace {

constexpr PciIdentity kIdentity{.vendor = 0x1af4,
                                .device = 0x1042,
                                .subsystem_vendor = 0x1111,
                                .subsystem = 0x2222,
                                .class_code = 0x018000,
                                .revision = 1};

std::uint32_t read32(const PciConfigSpace& config, std::uint64_t offset) {
  std::uint32_t value = 0;
  config.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
void write32(PciConfigSpace& config, std::uint64_t offset, std::uint32_t value) {
  config.write(offset, std::as_bytes(std::span(&value, 1)));
}

TEST(PciConfigSpace, ShowsItsIdentity) {
  const PciConfigSpace config(kIdentity);
  EXPECT_EQ(read32(config, 0x00), 0x10421af4u);
  EXPECT_EQ(read32(config, 0x08), 0x01800001u);
  EXPECT_EQ(read32(config, 0x2c), 0x22221111u);
  EXPECT_EQ(config.get<std::uint8_t>(0x0e), 0);  // type 0, one function
  EXPECT_EQ(config.get<std::uint8_t>(0x3d), 0);  // no interrupt pin
}

TEST(PciConfigSpace, TheGuestChangesOnlyWritableBits) {
  PciConfigSpace config(kIdentity);
  for (std::uint64_t offset = 0; offset < PciConfigSpace::kSize; offset += 4) {
    write32(config, offset, 0xffffffff);
  }
  EXPECT_EQ(read32(config, 0x00), 0x10421af4u);
  EXPECT_EQ(config.get<std::uint16_t>(pci::kCommand),
            pci::kCommandMemory | pci::kCommandBusMaster | pci::kCommandIntxDisable);
  EXPECT_EQ(config.get<std::uint16_t>(pci::kStatus), 0);
  EXPECT_EQ(read32(config, 0x3c), 0xffu);
}

TEST(PciConfigSpace, AccessesOutsideReadAsOnes) {
  PciConfigSpace config(kIdentity);
  EXPECT_EQ(read32(config, 253), 0xffffffffu);
  EXPECT_EQ(read32(config, 256), 0xffffffffu);
  EXPECT_EQ(read32(config, ~std::uint64_t{0}), 0xffffffffu);
  write32(config, 253, 0);
  write32(config, ~std::uint64_t{0}, 0);
}

TEST(PciConfigSpace, LinksCapabilities) {
  PciConfigSpace config(kIdentity);
  EXPECT_EQ(config.get<std::uint8_t>(pci::kCapabilitiesPointer), 0);
  const std::byte body[7] = {std::byte{9}, std::byte{8}};
  const std::uint8_t first = config.add_capability(0x09, body);
  const std::uint8_t second = config.add_capability(0x11, body);
  EXPECT_EQ(first, 0x40);
  EXPECT_EQ(second, 0x4c);  // aligned to 4
  EXPECT_EQ(config.get<std::uint16_t>(pci::kStatus), pci::kStatusCapabilities);
  EXPECT_EQ(config.get<std::uint8_t>(pci::kCapabilitiesPointer), first);
  EXPECT_EQ(read32(config, first), 0x08094c09u);
  EXPECT_EQ(config.get<std::uint8_t>(second), 0x11);
  EXPECT_EQ(config.get<std::uint8_t>(second + 1u), 0);
}

TEST(PciConfigSpace, RestoresWhatIsWritableOnly) {
  PciConfigSpace config(kIdentity);
  write32(config, pci::kCommand, pci::kCommandBusMaster);
  StateWriter writer;
  config.save(writer);

  PciConfigSpace same(kIdentity);
  StateReader reader(writer.bytes());
  ASSERT_TRUE(same.restore(reader));
  EXPECT_EQ(same.get<std::uint16_t>(pci::kCommand), pci::kCommandBusMaster);

  PciIdentity changed = kIdentity;
  changed.device = 0x1041;
  PciConfigSpace other(changed);
  StateReader again(writer.bytes());
  EXPECT_FALSE(other.restore(again));
  EXPECT_EQ(other.get<std::uint16_t>(pci::kCommand), 0);

  StateReader truncated(writer.bytes().first(255));
  EXPECT_FALSE(same.restore(truncated));
}

}  // namespace
}  // namespace bulkhead
