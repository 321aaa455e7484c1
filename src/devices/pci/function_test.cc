// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/function.h"

#include <gtest/gtest.h>

#include "devices/pci/fakes_for_test.h"
#include "devices/pci/register_function.h"

namespace bulkhead {
namespace {

constexpr PciIdentity kIdentity{.vendor = 0x1b36, .device = 1, .class_code = 0xff0000};

// BAR 0: 4 KiB, 32 bits wide; BAR 2: 16 KiB, 64 bits wide. Notes what the hooks tell.
class TestFunction : public PciFunction {
 public:
  explicit TestFunction(Bus& mmio) : PciFunction(kIdentity, mmio) {
    add_bar({.index = 0, .size = 0x1000, .is_64bit = false}, small);
    add_bar({.index = 2, .size = 0x4000, .is_64bit = true}, large);
  }
  std::string_view name() const override { return "test"; }
  void save(StateWriter& writer) const override { save_registers(writer); }
  Result<void> restore(StateReader& reader) override { return restore_registers(reader); }

  FakeRegisters small;
  FakeRegisters large;
  std::vector<std::pair<std::size_t, std::optional<Gpa>>> moves;

 protected:
  void bar_moved(std::size_t index, std::optional<Gpa> base) override {
    moves.emplace_back(index, base);
  }
};

class PciFunctionTest : public testing::Test {
 protected:
  void decode(bool on) {
    write_config<std::uint16_t>(function, pci::kCommand, on ? pci::kCommandMemory : 0);
  }
  bool mapped(std::uint64_t address) { return write_bus<std::uint8_t>(mmio, address, 0); }

  Bus mmio{std::uint64_t{1} << 40};
  TestFunction function{mmio};
};

TEST_F(PciFunctionTest, BarsTellTheirSizes) {
  for (std::uint64_t offset = 0x10; offset < 0x28; offset += 4) {
    write_config<std::uint32_t>(function, offset, 0xffffffff);
  }
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x10), 0xfffff000u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x14), 0u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x18), 0xffffc004u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x1c), 0xffffffffu);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x20), 0u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x30), 0u);  // no ROM
  EXPECT_TRUE(function.moves.empty());
}

TEST_F(PciFunctionTest, BarsAreMappedWhileMemoryIsDecoded) {
  function.assign_bar(0, Gpa(0xc0000000));
  function.assign_bar(2, Gpa(0x8'0000'4000));
  EXPECT_FALSE(mapped(0xc0000000));
  decode(true);
  EXPECT_TRUE(write_bus<std::uint32_t>(mmio, 0xc0000ffc, 1));
  EXPECT_EQ(function.small.last_offset, 0xffcu);
  EXPECT_TRUE(mapped(0x8'0000'7fff));
  EXPECT_EQ(function.large.last_offset, 0x3fffu);
  EXPECT_FALSE(mapped(0x8'0000'8000));
  decode(false);
  EXPECT_FALSE(mapped(0xc0000000));
  EXPECT_FALSE(mapped(0x8'0000'4000));
  ASSERT_EQ(function.moves.size(), 4u);
  EXPECT_EQ(function.moves[1].second, Gpa(0x8'0000'4000));
  EXPECT_EQ(function.moves[3].second, std::nullopt);
}

TEST_F(PciFunctionTest, BarsMove) {
  function.assign_bar(0, Gpa(0xc0000000));
  function.assign_bar(2, Gpa(0x8'0000'0000));
  decode(true);
  write_config<std::uint32_t>(function, 0x10, 0xc1234000);
  EXPECT_FALSE(mapped(0xc0000000));
  EXPECT_TRUE(mapped(0xc1234000));
  write_config<std::uint32_t>(function, 0x1c, 0x9);
  EXPECT_FALSE(mapped(0x8'0000'0000));
  EXPECT_TRUE(mapped(0x9'0000'0000));
  // Byte by byte, too.
  write_config<std::uint8_t>(function, 0x13, 0xc2);
  EXPECT_TRUE(mapped(0xc2234000));
}

TEST_F(PciFunctionTest, ABarInAnImpossiblePlaceIsNotMapped) {
  FakeRegisters other;
  ASSERT_TRUE(mmio.add({0xc0000000, 0x10}, other));
  function.assign_bar(0, Gpa(0xc0000000));
  decode(true);
  EXPECT_TRUE(mapped(0xc0000000));
  EXPECT_EQ(other.writes, 1);
  EXPECT_EQ(function.small.writes, 0);
  // Sizing while decoding is on: beyond the end of the bus for a moment.
  write_config<std::uint32_t>(function, 0x18, 0xffffffff);
  write_config<std::uint32_t>(function, 0x1c, 0xffffffff);
  EXPECT_TRUE(mapped(0xc0000000));
  EXPECT_EQ(other.writes, 2);
  // Its own BARs can collide as well.
  write_config<std::uint32_t>(function, 0x10, 0xd0000000);
  write_config<std::uint32_t>(function, 0x18, 0xd0000000);
  write_config<std::uint32_t>(function, 0x1c, 0);
  EXPECT_TRUE(mapped(0xd0000000));
  EXPECT_EQ(function.small.writes, 1);
  EXPECT_FALSE(mapped(0xd0001000));
}

TEST_F(PciFunctionTest, TellsWhetherItIsBusMaster) {
  EXPECT_FALSE(function.bus_master());
  write_config<std::uint16_t>(function, pci::kCommand, pci::kCommandBusMaster);
  EXPECT_TRUE(function.bus_master());
  write_config<std::uint8_t>(function, pci::kCommand, 0);
  EXPECT_FALSE(function.bus_master());
}

TEST_F(PciFunctionTest, TakesItsBarsFromTheBusWhenItGoes) {
  {
    TestFunction short_lived(mmio);
    short_lived.assign_bar(0, Gpa(0xc0000000));
    write_config<std::uint16_t>(short_lived, pci::kCommand, pci::kCommandMemory);
    EXPECT_TRUE(mapped(0xc0000000));
  }
  EXPECT_FALSE(mapped(0xc0000000));
}

TEST_F(PciFunctionTest, SurvivesSavingAndRestoring) {
  function.assign_bar(0, Gpa(0xc0000000));
  function.assign_bar(2, Gpa(0x8'0000'0000));
  write_config<std::uint16_t>(function, pci::kCommand,
                              pci::kCommandMemory | pci::kCommandBusMaster);
  StateWriter writer;
  function.save(writer);

  Bus other_bus(std::uint64_t{1} << 40);
  TestFunction copy(other_bus);
  StateReader reader(writer.bytes());
  ASSERT_TRUE(copy.restore(reader));
  EXPECT_TRUE(reader.empty());
  EXPECT_TRUE(copy.bus_master());
  EXPECT_TRUE(write_bus<std::uint8_t>(other_bus, 0x8'0000'0001, 0));
  EXPECT_EQ(copy.large.last_offset, 1u);
  StateReader truncated(writer.bytes().first(100));
  EXPECT_FALSE(copy.restore(truncated));
}

TEST(PciRegisterFunction, MapsItsRegisters) {
  Bus mmio(std::uint64_t{1} << 40);
  FakeRegisters registers;
  PciRegisterFunction function(kIdentity, mmio, registers, 16);
  EXPECT_EQ(function.name(), "fake-registers");
  function.assign_bar(0, Gpa(0xc0000010));
  write_config<std::uint16_t>(function, pci::kCommand, pci::kCommandMemory);
  EXPECT_EQ(read_bus<std::uint16_t>(mmio, 0xc0000012), 0x0302);
}

}  // namespace
}  // namespace bulkhead
