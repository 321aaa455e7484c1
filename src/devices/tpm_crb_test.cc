// SPDX-License-Identifier: Apache-2.0
#include "devices/tpm_crb.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/byte_reader.h"
#include "devices/fakes_for_test.h"
#include "devices/tpm_for_test.h"

namespace bulkhead {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kLocState = 0x00;
constexpr std::uint64_t kLocCtrl = 0x08;
constexpr std::uint64_t kLocSts = 0x0c;
constexpr std::uint64_t kIntfId = 0x30;
constexpr std::uint64_t kCtrlReq = 0x40;
constexpr std::uint64_t kCtrlSts = 0x44;
constexpr std::uint64_t kCancel = 0x48;
constexpr std::uint64_t kStart = 0x4c;
constexpr std::uint64_t kData = 0x80;

constexpr std::uint32_t kRequest = 1;
constexpr std::uint32_t kRelinquish = 2;
constexpr std::uint32_t kSeize = 4;
constexpr std::uint32_t kReady = 1;
constexpr std::uint32_t kIdle = 2;

// A driver of one locality.
class Driver {
 public:
  Driver(TpmCrb& device, std::uint64_t locality)
      : device_(device), base_(locality * tpm_crb::kLocalityBytes) {}

  template <class T = std::uint32_t>
  T read(std::uint64_t offset) {
    std::array<std::byte, sizeof(T)> bytes{};
    device_.read(base_ + offset, bytes);
    return get_le<T>(bytes, 0);
  }
  template <class T = std::uint32_t>
  void write(std::uint64_t offset, T value) {
    std::array<std::byte, sizeof(T)> bytes{};
    put_le(bytes, 0, value);
    device_.write(base_ + offset, bytes);
  }
  void fill(std::span<const std::byte> command) {
    for (std::size_t at = 0; at < command.size(); at += 4) {
      device_.write(base_ + kData + at,
                    command.subspan(at, std::min<std::size_t>(4, command.size() - at)));
    }
  }
  void start(std::span<const std::byte> command) {
    write(kCtrlReq, kReady);
    fill(command);
    write(kStart, 1U);
  }
  void await_end() {
    while (read(kStart) != 0) std::this_thread::yield();
  }
  Bytes response(std::size_t length) {
    Bytes bytes(length);
    for (std::size_t at = 0; at < length; ++at) {
      device_.read(base_ + kData + at, std::span(bytes).subspan(at, 1));
    }
    return bytes;
  }
  // The code of a response that consists of nothing else.
  std::uint32_t code() { return __builtin_bswap32(read(kData + 6)); }
  bool granted() { return (read(kLocSts) & 1) != 0; }

 private:
  TpmCrb& device_;
  std::uint64_t base_;
};

class TpmCrbTest : public ::testing::Test {
 protected:
  Driver locality(std::uint64_t number) { return {*device_, number}; }
  static Bytes command(std::uint32_t length, std::uint32_t code = 0x17b) {
    Bytes bytes(std::max<std::size_t>(length, 12));
    put_le(bytes, 0, std::uint16_t{0x0180});
    put_le(bytes, 2, __builtin_bswap32(length));
    put_le(bytes, 6, __builtin_bswap32(code));
    return bytes;
  }

  FakeTpm tpm_;
  std::unique_ptr<TpmCrb> device_ = TpmCrb::create(tpm_).value();
};

TEST_F(TpmCrbTest, SaysWhatItIs) {
  Driver driver = locality(0);
  EXPECT_EQ(driver.read(kLocState), 0x81U);
  EXPECT_EQ(driver.read(kIntfId) & 0xf, 1U);      // a CRB is active
  EXPECT_EQ(driver.read(kIntfId) >> 17 & 3, 1U);  // and selected
  EXPECT_EQ(driver.read(0x58), kTpmBufferBytes);
  EXPECT_EQ(driver.read<std::uint64_t>(0x5c), 0xfed40080U);
  EXPECT_EQ(locality(2).read<std::uint64_t>(0x68), 0xfed42080U);
  EXPECT_EQ(driver.read(kCtrlSts), 2U);  // idle
}

TEST_F(TpmCrbTest, RunsACommand) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  EXPECT_EQ(driver.read(kLocState), 0x83U);
  EXPECT_TRUE(driver.granted());
  const Bytes sent = command(20);
  driver.start(sent);
  driver.await_end();
  EXPECT_EQ(driver.response(20), sent);
  EXPECT_EQ(tpm_.last_command(), sent);
  EXPECT_EQ(driver.read(kCtrlSts), 0U);
  driver.write(kCtrlReq, kIdle);
  EXPECT_EQ(driver.read(kCtrlSts), 2U);
}

TEST_F(TpmCrbTest, CommandsMayFollowEachOtherAtOnce) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  driver.start(command(20, 0x144));
  driver.await_end();
  const Bytes next = command(14, 0x143);
  driver.fill(next);
  driver.write(kStart, 1U);
  driver.await_end();
  EXPECT_EQ(tpm_.last_command(), next);
  EXPECT_EQ(driver.response(14), next);
  EXPECT_EQ(driver.read<std::uint32_t>(kData + 16), 0U);  // nothing of the one before
}

TEST_F(TpmCrbTest, TheLongestCommandFits) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  driver.start(command(kTpmBufferBytes));
  driver.await_end();
  EXPECT_EQ(tpm_.last_command().size(), kTpmBufferBytes);
}

TEST_F(TpmCrbTest, LengthsThatCannotBeAreAnsweredForTheTpm) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  for (std::uint32_t length : {0U, 9U, std::uint32_t{kTpmBufferBytes} + 1, 0xffffffffU}) {
    Bytes sent = command(12);
    put_le(sent, 2, __builtin_bswap32(length));
    driver.start(sent);
    driver.await_end();
    EXPECT_EQ(driver.code(), 0x142U) << length;  // TPM_RC_COMMAND_SIZE
  }
  driver.write(kCtrlReq, kReady);
  driver.write(kStart, 1U);  // nothing was written at all
  driver.await_end();
  EXPECT_EQ(driver.code(), 0x142U);
  EXPECT_EQ(tpm_.commands(), 0U);
}

TEST_F(TpmCrbTest, NothingStartsUnlessReadyAndActive) {
  Driver driver = locality(0);
  driver.write(kCtrlReq, kReady);
  driver.write(kStart, 1U);
  EXPECT_EQ(driver.read(kStart), 0U);  // no locality
  driver.write(kLocCtrl, kRequest);
  driver.fill(command(12));
  driver.write(kStart, 1U);
  EXPECT_EQ(driver.read(kStart), 0U);  // idle
  EXPECT_EQ(driver.read<std::uint64_t>(kData), 0U);
  driver.start(command(12));
  driver.await_end();
  driver.write(kStart, 1U);  // completed, and not ready again
  device_->quiesce();
  EXPECT_EQ(tpm_.commands(), 1U);
}

TEST_F(TpmCrbTest, LocalitiesAreHandedOnInTurn) {
  Driver zero = locality(0);
  Driver one = locality(1);
  Driver two = locality(2);
  zero.write(kLocCtrl, kRequest);
  one.write(kLocCtrl, kRequest);
  two.write(kLocCtrl, kRequest);
  EXPECT_TRUE(zero.granted());
  EXPECT_FALSE(two.granted());
  zero.write(kLocCtrl, kRelinquish);
  EXPECT_TRUE(two.granted());  // the higher one first
  EXPECT_EQ(zero.read(kLocState), 0x81U | 2U | 2U << 2);
  two.write(kLocCtrl, kRelinquish);
  EXPECT_TRUE(one.granted());
  one.start(command(12));
  one.await_end();
  EXPECT_EQ(tpm_.last_locality(), TpmLocality::k1);
  one.write(kLocCtrl, kRelinquish);
  EXPECT_EQ(zero.read(kLocState), 0x81U);
}

TEST_F(TpmCrbTest, OnlyAHigherLocalitySeizes) {
  Driver zero = locality(0);
  Driver one = locality(1);
  one.write(kLocCtrl, kRequest);
  zero.write(kLocCtrl, kSeize);
  EXPECT_TRUE(one.granted());
  Driver three = locality(3);
  three.write(kLocCtrl, kSeize);
  EXPECT_TRUE(three.granted());
  EXPECT_EQ(one.read(kLocSts), 2U);  // beenSeized
  one.write(kLocCtrl, kRequest);
  three.write(kLocCtrl, kRelinquish);
  EXPECT_EQ(one.read(kLocSts), 1U);
}

TEST_F(TpmCrbTest, TheHardwaresLocalityIsNobodys) {
  Driver four = locality(4);
  four.write(kLocCtrl, kRequest);
  four.write(kLocCtrl, kSeize);
  EXPECT_FALSE(four.granted());
  EXPECT_EQ(four.read(kLocState), 0x81U);
}

// Neither the response, nor a command that was left there, is another locality's to read.
TEST_F(TpmCrbTest, TheBufferIsNotSharedBetweenLocalities) {
  Driver zero = locality(0);
  Driver one = locality(1);
  zero.write(kLocCtrl, kRequest);
  zero.start(command(12));
  zero.await_end();
  EXPECT_EQ(one.read(kData), 0xffffffffU);
  one.write(kData, 0x12345678U);
  EXPECT_EQ(zero.response(12), command(12));
  one.write(kLocCtrl, kRequest);
  zero.write(kLocCtrl, kRelinquish);
  EXPECT_EQ(one.read(kData), 0U);
}

TEST_F(TpmCrbTest, ARunningCommandIsOutOfReach) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  tpm_.hold(true);
  driver.start(command(12));
  tpm_.wait_until_under_way();
  driver.fill(command(40));
  driver.write(kCtrlReq, kIdle);
  driver.write(kCtrlReq, kReady);
  driver.write(kStart, 1U);
  EXPECT_EQ(driver.read(kStart), 1U);
  EXPECT_EQ(driver.read(kData), 0xffffffffU);
  tpm_.hold(false);
  driver.await_end();
  EXPECT_EQ(driver.response(12), command(12));
  EXPECT_EQ(tpm_.commands(), 1U);
}

TEST_F(TpmCrbTest, CancelReachesTheTpm) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  tpm_.hold(true);
  driver.start(command(12));
  tpm_.wait_until_under_way();
  driver.write(kCancel, 1U);
  driver.await_end();
  EXPECT_EQ(driver.response(10)[9], std::byte{0x09});
  driver.write(kCancel, 0U);
  tpm_.hold(false);
  driver.start(command(12));
  driver.await_end();
  EXPECT_EQ(driver.response(12), command(12));
}

TEST_F(TpmCrbTest, CancelWithoutACommandDoesNothing) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  driver.write(kCancel, 1U);
  EXPECT_EQ(tpm_.cancels(), 0U);
  driver.write(kCtrlReq, kReady);
  driver.fill(command(12));
  driver.write(kStart, 1U);  // with CANCEL still set
  driver.await_end();
  EXPECT_EQ(driver.code(), 0x909U);
  EXPECT_EQ(tpm_.commands(), 0U);
}

TEST_F(TpmCrbTest, WhoLeavesOrIsSeizedLosesItsCommand) {
  Driver zero = locality(0);
  Driver one = locality(1);
  zero.write(kLocCtrl, kRequest);
  for (const bool seized : {false, true}) {
    tpm_.hold(true);
    zero.start(command(12));
    tpm_.wait_until_under_way();
    if (seized) {
      one.write(kLocCtrl, kSeize);
    } else {
      one.write(kLocCtrl, kRequest);
      zero.write(kLocCtrl, kRelinquish);
    }
    EXPECT_FALSE(zero.granted());
    one.await_end();
    EXPECT_TRUE(one.granted());
    EXPECT_EQ(one.read(kData), 0U);  // not the response
    EXPECT_EQ(one.read(kCtrlSts), 2U);
    tpm_.hold(false);
    zero.write(kLocCtrl, kRequest);
    one.write(kLocCtrl, kRelinquish);
    EXPECT_TRUE(zero.granted());
  }
}

TEST_F(TpmCrbTest, ATpmThatIsGoneIsAnError) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  tpm_.fail();
  driver.start(command(12));
  driver.await_end();
  EXPECT_EQ(driver.code(), 0x101U);  // TPM_RC_FAILURE
  EXPECT_EQ(driver.read(kCtrlSts) & 1, 1U);
  driver.start(command(12));
  EXPECT_EQ(driver.read(kStart), 0U);
  EXPECT_EQ(tpm_.commands(), 1U);
}

// Any size at any place, across registers and pages: nothing but bytes.
TEST_F(TpmCrbTest, OddAccessesHarmNothing) {
  Driver driver = locality(0);
  EXPECT_EQ(driver.read<std::uint8_t>(0x59), kTpmBufferBytes >> 8);
  EXPECT_EQ(driver.read<std::uint16_t>(0x5b), 0x8000U);  // the end of one, the start of the next
  driver.write<std::uint8_t>(kLocCtrl + 1, 1);           // not the byte that counts
  EXPECT_FALSE(driver.granted());
  driver.write<std::uint8_t>(kLocCtrl, 1);
  EXPECT_TRUE(driver.granted());
  driver.write(kCtrlReq, kReady);
  driver.fill(command(12));
  driver.write<std::uint64_t>(kCancel, std::uint64_t{1} << 32);  // CANCEL 0 and START 1 at once
  driver.await_end();
  EXPECT_EQ(driver.response(12), command(12));
  for (std::uint64_t at = 0; at < tpm_crb::kBytes; ++at) {
    std::array<std::byte, 8> bytes{};
    const std::size_t size = std::min<std::uint64_t>(8, tpm_crb::kBytes - at);
    device_->read(at, std::span(bytes).first(size));
    device_->write(at, std::span(bytes).first(size));
  }
  device_->quiesce();
}

TEST_F(TpmCrbTest, StateGoesToAnotherDevice) {
  Driver driver = locality(2);
  driver.write(kLocCtrl, kRequest);
  locality(1).write(kLocCtrl, kRequest);
  driver.start(command(12));
  device_->quiesce();
  FakeTpm other_tpm;
  auto other = TpmCrb::create(other_tpm).value();
  ASSERT_TRUE(restore_state(*other, state_of(*device_)));
  Driver same(*other, 2);
  EXPECT_TRUE(same.granted());
  EXPECT_EQ(same.response(12), command(12));
  same.write(kLocCtrl, kRelinquish);
  EXPECT_TRUE(Driver(*other, 1).granted());
}

TEST_F(TpmCrbTest, ImpossibleStatesAreRefused) {
  const Bytes good = state_of(*device_);
  EXPECT_TRUE(restore_state(*device_, good));  // the control
  for (std::size_t length = 0; length < good.size(); length += 7) {
    EXPECT_FALSE(restore_state(*device_, std::span(good).first(length)));
  }
  struct Change {
    std::size_t at;
    unsigned value;
  };
  for (const Change& change :
       {Change{0, 2}, Change{4, 1}, Change{4, 2}, Change{4, 4}, Change{5, 4}, Change{5, 6},
        Change{5, 83}, Change{6, 1}, Change{6, 16}, Change{7, 16}, Change{8, 2}, Change{9, 2}}) {
    Bytes bad = good;
    bad[change.at] = static_cast<std::byte>(change.value);
    EXPECT_FALSE(restore_state(*device_, bad)) << change.at << "=" << change.value;
  }
}

// Several vCPUs at once, without a rule between them.
TEST_F(TpmCrbTest, HostileDriversRace) {
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 3; ++seed) {
    threads.emplace_back([this, seed] {
      std::uint32_t random = seed * 7919 + 1;
      for (int i = 0; i < 20000; ++i) {
        random = random * 1664525 + 1013904223;
        Driver driver = locality(random >> 28 & 3);
        constexpr std::uint64_t kRegisters[] = {kLocCtrl, kCtrlReq, kCancel,
                                                kStart,   kData,    kLocSts};
        const std::uint64_t reg = kRegisters[(random >> 8) % 6];
        if ((random >> 16 & 1) != 0) {
          driver.write(reg, random >> 20 & 7);
        } else {
          driver.read(reg);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  device_->quiesce();
  Driver three = locality(3);
  three.write(kLocCtrl, kSeize);
  EXPECT_EQ(three.read(kLocState) & 0x81, 0x81U);
}

TEST_F(TpmCrbTest, EndsWhileACommandRuns) {
  Driver driver = locality(0);
  driver.write(kLocCtrl, kRequest);
  tpm_.hold(true);
  driver.start(command(12));
  tpm_.wait_until_under_way();
  device_.reset();
  EXPECT_EQ(tpm_.cancels(), 1U);
}

}  // namespace
}  // namespace bulkhead
