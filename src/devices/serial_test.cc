// SPDX-License-Identifier: Apache-2.0
#include "devices/serial.h"

#include <gtest/gtest.h>

#include <string>

#include "devices/fakes_for_test.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kIer = 1;
constexpr std::uint64_t kIir = 2;
constexpr std::uint64_t kFcr = 2;
constexpr std::uint64_t kLcr = 3;
constexpr std::uint64_t kMcr = 4;
constexpr std::uint64_t kLsr = 5;
constexpr std::uint64_t kMsr = 6;
constexpr std::uint64_t kScr = 7;

class SerialTest : public testing::Test {
 protected:
  std::uint8_t in(std::uint64_t offset) { return device_read<std::uint8_t>(serial_, offset); }
  void out(std::uint64_t offset, unsigned value) {
    device_write(serial_, offset, static_cast<std::uint8_t>(value));
  }
  void enable_fifo(unsigned trigger_bits = 0) { out(kFcr, 0x07U | trigger_bits << 6); }
  void connect_line() { out(kMcr, 0x0b); }  // DTR, RTS, OUT2
  std::string read_all() {
    std::string text;
    while ((in(kLsr) & 1) != 0) text.push_back(static_cast<char>(in(kData)));
    return text;
  }

  FakeLine line_;
  FakeConsole console_;
  Serial serial_{line_, console_};
};

TEST_F(SerialTest, SendsWhatIsWritten) {
  for (const char c : std::string("boot\n")) out(kData, static_cast<unsigned char>(c));
  EXPECT_EQ(console_.output, "boot\n");
  EXPECT_EQ(in(kLsr), 0x60);
}

TEST_F(SerialTest, DivisorLatchHidesDataAndInterruptEnable) {
  out(kLcr, 0x83);
  out(kData, 0x0c);
  out(kIer, 0x01);
  EXPECT_EQ(in(kData), 0x0c);
  EXPECT_EQ(in(kIer), 0x01);
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0x00);
  EXPECT_EQ(console_.output, "");
}

TEST_F(SerialTest, ScratchAndMaskedRegisters) {
  out(kScr, 0xa5);
  out(kIer, 0xff);
  out(kMcr, 0xff);
  EXPECT_EQ(in(kScr), 0xa5);
  EXPECT_EQ(in(kIer), 0x0f);
  EXPECT_EQ(in(kMcr), 0x1f);
  out(kLsr, 0xff);
  out(kMcr, 0);
  EXPECT_EQ(in(kLsr), 0x60);
  EXPECT_EQ(in(kMsr) & 0xf0, 0xb0);
}

// The steps of Linux's autoconfig(): IER, loopback, IIR with FIFOs.
TEST_F(SerialTest, IsRecognisedAs16550A) {
  out(kIer, 0);
  EXPECT_EQ(in(kIer) & 0x0f, 0);
  out(kIer, 0x0f);
  EXPECT_EQ(in(kIer) & 0x0f, 0x0f);
  out(kIer, 0);
  out(kMcr, 0x1a);  // LOOP, OUT2, RTS
  EXPECT_EQ(in(kMsr) & 0xf0, 0x90);
  out(kMcr, 0);
  out(kFcr, 0x01);
  EXPECT_EQ(in(kIir) >> 6, 3);
  out(kFcr, 0x21);  // a 64-byte FIFO would show in bit 5
  EXPECT_EQ(in(kIir) & 0xe0, 0xc0);
  out(kFcr, 0);
  EXPECT_EQ(in(kIir), 0x01);
}

// FreeBSD's ns8250 counts bytes until one is lost, to learn how deep the FIFO is.
TEST_F(SerialTest, LoopbackFifoHolds16Bytes) {
  enable_fifo();
  out(kMcr, 0x10);
  int count = 0;
  while (count < 130) {
    out(kData, static_cast<unsigned>(count));
    if ((in(kLsr) & 0x02) != 0) break;
    ++count;
  }
  EXPECT_EQ(count, 16);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(in(kData), i);
  EXPECT_EQ(in(kLsr), 0x60);
  EXPECT_EQ(console_.output, "");
}

// Linux's serial8250_do_startup(): each time the interrupt is enabled it must come.
TEST_F(SerialTest, TransmitInterruptComesWithEachEnabling) {
  connect_line();
  for (int i = 0; i < 3; ++i) {
    out(kIer, 0x02);
    EXPECT_TRUE(line_.high);
    EXPECT_EQ(in(kIir) & 0x0f, 0x02);
    EXPECT_FALSE(line_.high);
    EXPECT_EQ(in(kIir) & 0x0f, 0x01);
    out(kIer, 0);
  }
  EXPECT_EQ(line_.edges, 3);
}

TEST_F(SerialTest, TransmitInterruptComesAfterEachByte) {
  connect_line();
  out(kIer, 0x02);
  for (int i = 1; i <= 5; ++i) {
    EXPECT_EQ(line_.edges, i);
    out(kData, 'x');  // without reading IIR
  }
  EXPECT_EQ(in(kIir) & 0x0f, 0x02);
  EXPECT_FALSE(line_.high);
}

TEST_F(SerialTest, PollingDriverCausesNoInterrupt) {
  connect_line();
  for (int i = 0; i < 100; ++i) out(kData, 'x');
  EXPECT_EQ(line_.edges, 0);
}

TEST_F(SerialTest, ReceivesUntilFullAndAsksForMore) {
  enable_fifo();
  EXPECT_EQ(console_.type("0123456789abcdefXYZ"), 16u);
  EXPECT_EQ(console_.type("XYZ"), 0u);
  EXPECT_EQ(console_.ready_calls, 0);
  EXPECT_EQ(read_all(), "0123456789abcdef");
  EXPECT_EQ(console_.ready_calls, 1);
  EXPECT_EQ(console_.type("XYZ"), 3u);
  EXPECT_EQ(read_all(), "XYZ");
  EXPECT_EQ(console_.ready_calls, 1);
  EXPECT_EQ(in(kLsr) & 0x02, 0);  // nothing was overrun
}

TEST_F(SerialTest, WithoutFifosHoldsOneByte) {
  EXPECT_EQ(console_.type("ab"), 1u);
  EXPECT_EQ(read_all(), "a");
  EXPECT_EQ(console_.ready_calls, 1);
  EXPECT_EQ(in(kData), 0);  // empty
}

TEST_F(SerialTest, ReceiveInterruptTellsTriggerLevelFromTimeout) {
  connect_line();
  enable_fifo(2);  // 8 bytes
  out(kIer, 0x01);
  EXPECT_EQ(console_.type("1234567"), 7u);
  EXPECT_TRUE(line_.high);
  EXPECT_EQ(in(kIir), 0xcc);
  EXPECT_EQ(console_.type("8"), 1u);
  EXPECT_EQ(in(kIir), 0xc4);
  EXPECT_EQ(read_all(), "12345678");
  EXPECT_FALSE(line_.high);
  EXPECT_EQ(line_.edges, 1);
}

TEST_F(SerialTest, InterruptsHavePriorities) {
  connect_line();
  enable_fifo();
  out(kMcr, 0x10);
  for (int i = 0; i < 17; ++i) out(kData, 'x');  // one too many
  connect_line();
  out(kIer, 0x0f);
  EXPECT_EQ(in(kIir) & 0x0f, 0x06);
  EXPECT_EQ(in(kLsr) & 0x02, 0x02);
  EXPECT_EQ(in(kIir) & 0x0f, 0x04);
  out(kFcr, 0x03);
  EXPECT_EQ(in(kIir) & 0x0f, 0x02);
  EXPECT_EQ(in(kIir) & 0x0f, 0x00);  // loopback changed the modem's lines
  EXPECT_TRUE(line_.high);
  EXPECT_NE(in(kMsr) & 0x0f, 0);
  EXPECT_EQ(in(kIir) & 0x0f, 0x01);
  EXPECT_FALSE(line_.high);
}

TEST_F(SerialTest, Out2ConnectsTheInterrupt) {
  enable_fifo();
  out(kIer, 0x01);
  console_.type("a");
  EXPECT_FALSE(line_.high);
  out(kMcr, 0x08);
  EXPECT_TRUE(line_.high);
  out(kMcr, 0x18);
  EXPECT_FALSE(line_.high);
}

TEST_F(SerialTest, ModemLinesInLoopback) {
  in(kMsr);
  out(kMcr, 0x14);  // OUT1
  EXPECT_EQ(in(kMsr), 0x40 | 0x0b);
  out(kMcr, 0x10);
  EXPECT_EQ(in(kMsr), 0x04);  // RI ended
  out(kMcr, 0x11);
  EXPECT_EQ(in(kMsr), 0x20 | 0x02);
  EXPECT_EQ(in(kMsr), 0x20);
}

TEST_F(SerialTest, InputWaitsWhileInLoopback) {
  enable_fifo();
  out(kMcr, 0x10);
  EXPECT_EQ(console_.type("a"), 0u);
  out(kMcr, 0);
  EXPECT_EQ(console_.ready_calls, 1);
  EXPECT_EQ(console_.type("a"), 1u);
}

TEST_F(SerialTest, ClearingTheFifoMakesRoom) {
  enable_fifo();
  console_.type("0123456789abcdefX");
  out(kFcr, 0x03);
  EXPECT_EQ(in(kLsr) & 1, 0);
  EXPECT_EQ(console_.ready_calls, 1);
}

TEST_F(SerialTest, WideAccessesReachNeighbours) {
  device_write<std::uint32_t>(serial_, 4, 0x5a'00'00'03);
  EXPECT_EQ(in(kMcr), 0x03);
  EXPECT_EQ(in(kScr), 0x5a);
  EXPECT_EQ(device_read<std::uint64_t>(serial_, 0) >> 56, 0x5au);
}

TEST_F(SerialTest, RestoresWhatWasSaved) {
  connect_line();
  enable_fifo(1);
  out(kScr, 0x77);
  out(kIer, 0x01);
  console_.type("hi");
  FakeLine line;
  FakeConsole console;
  Serial other(line, console);
  ASSERT_TRUE(restore_state(other, state_of(serial_)));
  EXPECT_TRUE(line.high);
  EXPECT_EQ(device_read<std::uint8_t>(other, kScr), 0x77);
  EXPECT_EQ(device_read<std::uint8_t>(other, kData), 'h');
  EXPECT_EQ(device_read<std::uint8_t>(other, kData), 'i');
  EXPECT_FALSE(line.high);
}

TEST_F(SerialTest, RefusesDamagedState) {
  const std::vector<std::byte> good = state_of(serial_);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(restore_state(serial_, std::span(good).first(length)));
  }
  std::vector<std::byte> bad = good;
  bad.back() = std::byte{200};  // bytes in the FIFO
  EXPECT_FALSE(restore_state(serial_, bad));
  bad = good;
  bad[0] = std::byte{9};  // version
  EXPECT_FALSE(restore_state(serial_, bad));
}

TEST(Serial, DisconnectsWhenItGoes) {
  FakeLine line;
  FakeConsole console;
  {
    Serial serial(line, console);
    EXPECT_TRUE(console.connected());
  }
  EXPECT_FALSE(console.connected());
}

}  // namespace
}  // namespace bulkhead
