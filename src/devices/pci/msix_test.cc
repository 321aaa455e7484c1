// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/msix.h"

#include <gtest/gtest.h>

#include "devices/pci/fakes_for_test.h"

namespace bulkhead {
namespace {

class MsixTest : public testing::Test {
 protected:
  static constexpr std::uint16_t kVectors = 3;

  void write(std::uint64_t offset, std::uint32_t value) {
    msix->write_table(offset, std::as_bytes(std::span(&value, 1)));
  }
  std::uint32_t read(std::uint64_t offset) {
    std::uint32_t value = 0xdddddddd;
    msix->read_table(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::uint64_t pending() {
    std::uint64_t value = 0xdddddddd;
    msix->read_pending(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void set_up(std::uint16_t vector, std::uint32_t data) {
    const std::uint64_t entry = std::uint64_t{16} * vector;
    write(entry, 0xfee01000);
    write(entry + 4, 0);
    write(entry + 8, data);
  }
  void mask(std::uint16_t vector, bool on) { write(std::uint64_t{16} * vector + 12, on); }
  const FakeMsiController::Record& record(std::size_t vector) {
    return *controller.records.at(vector);
  }

  FakeMsiController controller;
  std::unique_ptr<Msix> msix = Msix::create(controller, kVectors).value();
};

TEST_F(MsixTest, CapabilityTellsSizeAndPlaces) {
  const auto body = msix->capability({.bar = 4, .table = 0x2000, .pending = 0x3000});
  EXPECT_EQ(get_le<std::uint16_t>(body, 0), kVectors - 1);
  EXPECT_EQ(get_le<std::uint32_t>(body, 2), 0x2004u);
  EXPECT_EQ(get_le<std::uint32_t>(body, 6), 0x3004u);
}

TEST_F(MsixTest, EntriesAreMaskedAtFirst) {
  for (std::uint64_t i = 0; i < kVectors; ++i) EXPECT_EQ(read(16 * i + 12), 1u);
}

TEST_F(MsixTest, NothingIsSentWhileOff) {
  set_up(0, 0x41);
  mask(0, false);
  EXPECT_FALSE(msix->trigger(0));
  msix->set_control({.enabled = true, .masked = false});
  EXPECT_EQ(pending(), 0u);
  EXPECT_TRUE(record(0).sent.empty());
}

TEST_F(MsixTest, SendsTheMessageOfTheEntry) {
  msix->set_control({.enabled = true, .masked = false});
  set_up(1, 0x42);
  write(16 + 4, 7);
  mask(1, false);
  EXPECT_TRUE(msix->trigger(1));
  ASSERT_EQ(record(1).sent.size(), 1u);
  EXPECT_EQ(record(1).sent[0], (MsiMessage{0x7'fee0'1000, 0x42}));
  EXPECT_TRUE(record(0).sent.empty());
}

TEST_F(MsixTest, IgnoresVectorsThatDoNotExist) {
  msix->set_control({.enabled = true, .masked = false});
  EXPECT_TRUE(msix->trigger(kVectors));
  EXPECT_TRUE(msix->trigger(0xffff));
  EXPECT_EQ(pending(), 0u);
}

// Each programming costs an update of KVM's routing table.
TEST_F(MsixTest, ProgramsOnlyWhenUnmaskedAndChanged) {
  set_up(0, 0x41);
  mask(0, false);
  EXPECT_TRUE(record(0).programmed.empty());
  msix->set_control({.enabled = true, .masked = true});
  EXPECT_TRUE(record(0).programmed.empty());
  msix->set_control({.enabled = true, .masked = false});
  EXPECT_EQ(record(0).programmed.size(), 1u);
  mask(0, true);
  mask(0, false);
  msix->set_control({.enabled = true, .masked = true});
  msix->set_control({.enabled = true, .masked = false});
  EXPECT_EQ(record(0).programmed.size(), 1u);
  // As Linux changes an affinity: masked, written, unmasked.
  mask(0, true);
  set_up(0, 0x51);
  EXPECT_EQ(record(0).programmed.size(), 1u);
  mask(0, false);
  ASSERT_EQ(record(0).programmed.size(), 2u);
  EXPECT_EQ(record(0).programmed[1].data, 0x51u);
  EXPECT_TRUE(record(1).programmed.empty());
}

TEST_F(MsixTest, AChangeWhileUnmaskedCountsAtOnce) {
  msix->set_control({.enabled = true, .masked = false});
  set_up(0, 0x41);
  mask(0, false);
  write(8, 0x61);
  msix->trigger(0);
  EXPECT_EQ(record(0).sent.back().data, 0x61u);
}

TEST_F(MsixTest, KeepsOnePendingWhileMasked) {
  msix->set_control({.enabled = true, .masked = false});
  set_up(2, 0x43);
  msix->trigger(2);
  msix->trigger(2);
  EXPECT_EQ(pending(), 4u);
  mask(2, false);
  EXPECT_EQ(pending(), 0u);
  EXPECT_EQ(record(2).sent.size(), 1u);

  msix->set_control({.enabled = true, .masked = true});
  msix->trigger(2);
  EXPECT_EQ(pending(), 4u);
  msix->set_control({.enabled = true, .masked = false});
  EXPECT_EQ(record(2).sent.size(), 2u);
}

TEST_F(MsixTest, SwitchingOffForgetsWhatIsPending) {
  msix->set_control({.enabled = true, .masked = true});
  msix->trigger(0);
  msix->set_control({.enabled = false, .masked = false});
  EXPECT_EQ(pending(), 0u);
}

TEST_F(MsixTest, TakesDoubleAndQuadWordsOnly) {
  const std::uint64_t quad = 0x12345678'fee00000;
  msix->write_table(0, std::as_bytes(std::span(&quad, 1)));
  EXPECT_EQ(read(4), 0x12345678u);
  const std::uint16_t word = 0xffff;
  msix->write_table(8, std::as_bytes(std::span(&word, 1)));
  EXPECT_EQ(read(8), 0u);
  msix->write_table(4, std::as_bytes(std::span(&quad, 1)));  // misaligned
  EXPECT_EQ(read(4), 0x12345678u);
  EXPECT_EQ(read(2), 0u);
  write(16 * kVectors, 0xffffffff);  // beyond
  EXPECT_EQ(read(16 * kVectors), 0u);
  EXPECT_EQ(read(~std::uint64_t{3}), 0u);
  write(12, 0xffffffff);  // reserved bits of vector control, and of the address
  EXPECT_EQ(read(12), 1u);
  write(0, 0xffffffff);
  EXPECT_EQ(read(0), 0xfffffffcu);
}

TEST_F(MsixTest, AVectorThatTheHostRefusesIsTriedAgain) {
  msix->set_control({.enabled = true, .masked = false});
  set_up(0, 0x41);
  controller.refuse = true;
  mask(0, false);
  msix->trigger(0);
  EXPECT_TRUE(record(0).sent.empty());
  controller.refuse = false;
  mask(0, true);
  mask(0, false);
  msix->trigger(0);
  EXPECT_EQ(record(0).sent.size(), 1u);
}

TEST_F(MsixTest, CreateFailsWithoutVectors) {
  controller.vector_limit = controller.records.size() + 2;
  EXPECT_FALSE(Msix::create(controller, 3));
}

TEST_F(MsixTest, SurvivesSavingAndRestoring) {
  msix->set_control({.enabled = true, .masked = false});
  set_up(1, 0x42);
  mask(1, false);
  msix->trigger(2);
  StateWriter writer;
  msix->save(writer);

  FakeMsiController other;
  auto copy = Msix::create(other, kVectors).value();
  copy->set_control({.enabled = true, .masked = false});
  StateReader reader(writer.bytes());
  ASSERT_TRUE(copy->restore(reader));
  EXPECT_TRUE(reader.empty());
  copy->trigger(1);
  EXPECT_EQ(other.records[1]->sent.at(0).data, 0x42u);
  std::uint64_t bits = 0;
  copy->read_pending(0, std::as_writable_bytes(std::span(&bits, 1)));
  EXPECT_EQ(bits, 4u);
  for (std::size_t length = 0; length < writer.bytes().size(); length += 5) {
    StateReader truncated(writer.bytes().first(length));
    EXPECT_FALSE(copy->restore(truncated));
  }
}

TEST(Msix, PendingBitsOfManyVectors) {
  FakeMsiController controller;
  auto msix = Msix::create(controller, 70).value();
  msix->set_control({.enabled = true, .masked = true});
  msix->trigger(31);
  msix->trigger(32);
  msix->trigger(69);
  std::uint64_t bits[2] = {};
  msix->read_pending(0, std::as_writable_bytes(std::span(bits, 1)));
  msix->read_pending(8, std::as_writable_bytes(std::span(bits + 1, 1)));
  EXPECT_EQ(bits[0], 0x1'8000'0000u);
  EXPECT_EQ(bits[1], 0x20u);
  std::uint32_t word = 0;
  msix->read_pending(4, std::as_writable_bytes(std::span(&word, 1)));
  EXPECT_EQ(word, 1u);
  msix->read_pending(16, std::as_writable_bytes(std::span(&word, 1)));
  EXPECT_EQ(word, 0u);
}

}  // namespace
}  // namespace bulkhead
