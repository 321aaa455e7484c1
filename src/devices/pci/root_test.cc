// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/root.h"

#include <gtest/gtest.h>

#include "devices/pci/fakes_for_test.h"
#include "devices/pci/register_function.h"

namespace bulkhead {
namespace {

constexpr PciIdentity kIdentity{.vendor = 0x1b36, .device = 0x0011, .class_code = 0xff0000};

class WideFunction : public PciFunction {
 public:
  WideFunction(Bus& mmio, BusDevice& device, std::uint64_t size) : PciFunction(kIdentity, mmio) {
    add_bar({.index = 0, .size = size, .is_64bit = true}, device);
  }
  std::string_view name() const override { return "wide"; }
  void save(StateWriter& writer) const override { save_registers(writer); }
  Result<void> restore(StateReader& reader) override { return restore_registers(reader); }
};

class PciRootTest : public testing::Test {
 protected:
  PciRootTest() { EXPECT_EQ(root.add(function).value(), 1); }

  static std::uint64_t ecam(std::uint64_t slot, std::uint64_t offset) {
    return slot << 15 | offset;
  }

  Bus mmio{std::uint64_t{1} << 40};
  FakeRegisters registers;
  PciRegisterFunction function{kIdentity, mmio, registers, 16};
  PciRoot root{mmio};
};

TEST_F(PciRootTest, EcamReachesFunctions) {
  EXPECT_EQ(read_register<std::uint32_t>(root.ecam(), ecam(0, 0)), 0x00081b36u);
  EXPECT_EQ(read_register<std::uint32_t>(root.ecam(), ecam(0, 8)), 0x06000000u);
  EXPECT_EQ(read_register<std::uint32_t>(root.ecam(), ecam(1, 0)), 0x00111b36u);
  EXPECT_EQ(read_register<std::uint16_t>(root.ecam(), ecam(1, 2)), 0x0011u);
  EXPECT_EQ(read_register<std::uint8_t>(root.ecam(), ecam(1, 1)), 0x1bu);
  write_register<std::uint8_t>(root.ecam(), ecam(1, 0x3c), 5);
  EXPECT_EQ(read_config<std::uint8_t>(function, 0x3c), 5);
}

TEST_F(PciRootTest, WhatIsAbsentReadsAsOnes) {
  auto& device = root.ecam();
  EXPECT_EQ(read_register<std::uint32_t>(device, ecam(2, 0)), 0xffffffffu);
  EXPECT_EQ(read_register<std::uint32_t>(device, ecam(31, 0xffc)), 0xffffffffu);
  EXPECT_EQ(read_register<std::uint32_t>(device, ecam(1, 0) | 1 << 12), 0xffffffffu);  // function 1
  EXPECT_EQ(read_register<std::uint32_t>(device, ecam(1, 0x100)), 0xffffffffu);
  write_register<std::uint32_t>(device, ecam(2, 4), 0xffffffff);
}

TEST_F(PciRootTest, RefusesOddAccesses) {
  auto& device = root.ecam();
  EXPECT_EQ(read_register<std::uint32_t>(device, ecam(1, 1)), 0xffffffffu);
  EXPECT_EQ(read_register<std::uint16_t>(device, ecam(1, 3)), 0xffffu);
  EXPECT_EQ(read_register<std::uint64_t>(device, ecam(1, 0)), ~std::uint64_t{0});
  std::byte three[3];
  device.read(ecam(1, 0), three);
  EXPECT_EQ(three[0], std::byte{0xff});
  write_register<std::uint16_t>(device, ecam(1, 0x3b), 0xffff);
  EXPECT_EQ(read_config<std::uint8_t>(function, 0x3c), 0);
}

TEST_F(PciRootTest, ShowsRegistersInPages) {
  const auto pages = root.show_config_pages().value();
  ASSERT_EQ(pages.size(), 2U);
  EXPECT_EQ(pages[0].ecam_offset, ecam(0, 0));
  EXPECT_EQ(pages[1].ecam_offset, ecam(1, 0));
  const auto* page = reinterpret_cast<const std::byte*>(pages[1].host.value());
  const std::span<const std::byte> bytes(page, PciFunction::kConfigPageBytes);
  EXPECT_EQ(get_le<std::uint32_t>(bytes, 0), 0x00111b36U);
  EXPECT_EQ(get_le<std::uint32_t>(bytes, 0x100), 0xffffffffU);
  write_register<std::uint8_t>(root.ecam(), ecam(1, 0x3c), 7);
  EXPECT_EQ(get_le<std::uint8_t>(bytes, 0x3c), 7);
  // Sizing a BAR, as a driver does: all ones, read back, restore.
  write_register<std::uint32_t>(root.ecam(), ecam(1, 0x10), 0xffffffff);
  EXPECT_EQ(get_le<std::uint32_t>(bytes, 0x10), 0xfffffff0U);
  EXPECT_EQ(read_register<std::uint32_t>(root.ecam(), ecam(1, 0x10)), 0xfffffff0U);
}

TEST_F(PciRootTest, HoldsThirtyOneFunctions) {
  for (int slot = 2; slot < 32; ++slot) EXPECT_EQ(root.add(function).value(), slot);
  EXPECT_FALSE(root.add(function));
}

TEST_F(PciRootTest, AssignsBarsLargestFirst) {
  WideFunction small(mmio, registers, 0x1000);
  WideFunction large(mmio, registers, 0x8000);
  ASSERT_TRUE(root.add(small));
  ASSERT_TRUE(root.add(large));
  ASSERT_TRUE(
      root.assign_resources({.mem32 = {0xc0000000, 0x10000}, .mem64 = {0x8'0000'0000, 0x10000}}));
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x10), 0xc0000000u);
  EXPECT_EQ(read_config<std::uint64_t>(large, 0x10), 0x8'0000'0004u);
  EXPECT_EQ(read_config<std::uint64_t>(small, 0x10), 0x8'0000'8004u);
  EXPECT_EQ(read_config<std::uint16_t>(small, pci::kCommand), 0);
}

TEST_F(PciRootTest, AssignsWideBarsBelow4GiBWhenThereIsNoOtherWindow) {
  WideFunction wide(mmio, registers, 0x8000);
  ASSERT_TRUE(root.add(wide));
  ASSERT_TRUE(root.assign_resources({.mem32 = {0xc0001000, 0x10000}, .mem64 = {}}));
  EXPECT_EQ(read_config<std::uint64_t>(wide, 0x10), 0xc0008004u);
}

TEST_F(PciRootTest, SaysWhenTheWindowsAreTooSmall) {
  WideFunction wide(mmio, registers, 0x8000);
  ASSERT_TRUE(root.add(wide));
  const auto fits = [&](std::uint64_t base, std::uint64_t size) {
    return root.assign_resources({.mem32 = {0xc0000000, 16}, .mem64 = {base, size}}).has_value();
  };
  EXPECT_TRUE(fits(0x8'0000'0000, 0x8000));
  EXPECT_FALSE(fits(0x8'0000'0000, 0x7fff));
  EXPECT_FALSE(fits(0x8'0000'1000, 0x8000));
  EXPECT_FALSE(fits(0x8'0000'1000, 0x1000));
}

TEST_F(PciRootTest, SurvivesSavingAndRestoring) {
  ASSERT_TRUE(root.assign_resources({.mem32 = {0xc0000000, 0x1000}, .mem64 = {}}));
  write_register<std::uint16_t>(root.ecam(), ecam(1, 4), pci::kCommandMemory);
  StateWriter writer;
  root.save(writer);

  Bus other_bus(std::uint64_t{1} << 40);
  PciRegisterFunction copy(kIdentity, other_bus, registers, 16);
  PciRoot other(other_bus);
  ASSERT_TRUE(other.add(copy));
  StateReader reader(writer.bytes());
  ASSERT_TRUE(other.restore(reader));
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(read_register<std::uint16_t>(other.ecam(), ecam(1, 4)), pci::kCommandMemory);
  EXPECT_TRUE(write_bus<std::uint8_t>(other_bus, 0xc0000000, 0));

  PciRoot empty(other_bus);
  StateReader again(writer.bytes());
  EXPECT_FALSE(empty.restore(again));
  for (std::size_t length = 0; length < writer.bytes().size(); length += 13) {
    StateReader truncated(writer.bytes().first(length));
    EXPECT_FALSE(other.restore(truncated));
  }
}

}  // namespace
}  // namespace bulkhead
