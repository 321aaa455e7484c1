// SPDX-License-Identifier: Apache-2.0
#include "devices/grant_device.h"

#include <gtest/gtest.h>

#include "devices/fakes_for_test.h"
#include "devices/memory_grants.h"
#include "devices/pci/fakes_for_test.h"

namespace bulkhead {
namespace {

using namespace grant_device;

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr std::uint64_t kPages = kSize / kPageSize;

class GrantRegistersTest : public testing::Test {
 protected:
  template <class T = std::uint32_t>
  T get(std::uint64_t offset) {
    return device_read<T>(registers_, offset);
  }
  template <class T>
  void put(std::uint64_t offset, T value) {
    device_write<T>(registers_, offset, value);
  }
  Status run(Command command) {
    put(kCommandRegister, static_cast<std::uint32_t>(command));
    return Status{get(kStatusRegister)};
  }
  Status grant(std::uint64_t first, std::uint64_t pages, std::uint32_t rights = kRightRead,
               std::uint32_t grantee = 0) {
    put(kFirstRegister, first);
    put(kPagesRegister, pages);
    put(kGranteeRegister, grantee);
    put(kRightsRegister, rights);
    return run(Command::kGrant);
  }
  Status revoke(std::uint32_t handle) {
    put(kHandleRegister, handle);
    return run(Command::kRevoke);
  }
  Result<void> tools_read(std::uint64_t page) {
    std::byte byte{};
    return grants_.read(GranteeId::kHostTools, Gpa(page * kPageSize), std::span(&byte, 1));
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = kSize}).value();
  MemoryGrants grants_{*memory_};
  GrantRegisters registers_{grants_};
};

TEST_F(GrantRegistersTest, SaysWhatItIs) {
  EXPECT_EQ(get<std::uint64_t>(kMagicRegister), kMagic);
  EXPECT_EQ(get(kMagicRegister), 0x47484b42u);
  EXPECT_EQ(get(kVersionRegister), 1u);
  EXPECT_EQ(get(kCountRegister), 0u);
  for (std::uint64_t offset = kStatusRegister; offset < kBarBytes; offset += 4) {
    ASSERT_EQ(get(offset), 0u) << offset;
  }
}

TEST_F(GrantRegistersTest, GrantAndRevoke) {
  EXPECT_FALSE(tools_read(20));
  ASSERT_EQ(grant(20, 3), Status::kOk);
  const std::uint32_t handle = get(kHandleRegister);
  EXPECT_NE(handle, 0u);
  EXPECT_EQ(get(kCountRegister), 1u);
  EXPECT_TRUE(tools_read(20));
  EXPECT_TRUE(tools_read(22));
  EXPECT_FALSE(tools_read(23));
  ASSERT_EQ(revoke(handle), Status::kOk);
  EXPECT_FALSE(tools_read(20));
  EXPECT_EQ(revoke(handle), Status::kNotFound);
  EXPECT_EQ(get(kCountRegister), 0u);
}

TEST_F(GrantRegistersTest, RightsAndGrantees) {
  const std::array<std::byte, 1> byte{};
  ASSERT_EQ(grant(20, 1, kRightWrite, 7), Status::kOk);
  EXPECT_TRUE(grants_.write(GranteeId{7}, Gpa(20 * kPageSize), byte));
  EXPECT_FALSE(grants_.write(GranteeId::kHostTools, Gpa(20 * kPageSize), byte));
  EXPECT_FALSE(tools_read(20));
  ASSERT_EQ(grant(20, 1, kRightRead | kRightWrite, 0), Status::kOk);
  EXPECT_TRUE(grants_.write(GranteeId::kHostTools, Gpa(20 * kPageSize), byte));
  EXPECT_TRUE(tools_read(20));
}

TEST_F(GrantRegistersTest, TheLogSaysWhyAGrantIsRefused) {
  testing::internal::CaptureStderr();
  ASSERT_EQ(grant(kPages, 1), Status::kNotRam);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("grant_refused"), std::string::npos) << log;
  EXPECT_NE(log.find("a grant of what is not memory"), std::string::npos) << log;
}

TEST_F(GrantRegistersTest, EveryStatus) {
  EXPECT_EQ(grant(20, 0), Status::kInvalid);
  EXPECT_EQ(grant(20, 1, 0), Status::kInvalid);
  EXPECT_EQ(grant(20, 1, 4), Status::kInvalid);
  EXPECT_EQ(grant(20, 1, 0x80000001), Status::kInvalid);
  EXPECT_EQ(run(Command{0}), Status::kInvalid);
  EXPECT_EQ(run(Command{5}), Status::kInvalid);
  EXPECT_EQ(run(Command{0xffffffff}), Status::kInvalid);
  EXPECT_EQ(grant(kPages, 1), Status::kNotRam);
  EXPECT_EQ(grant(kPages - 1, 2), Status::kNotRam);
  EXPECT_EQ(grant(~std::uint64_t{0}, 2), Status::kNotRam);
  EXPECT_EQ(grant(20, 4), Status::kOk);
  EXPECT_EQ(grant(23, 4), Status::kOverlap);
  EXPECT_EQ(get(kHandleRegister), 0u);
  EXPECT_EQ(revoke(0), Status::kNotFound);
  EXPECT_EQ(revoke(99), Status::kNotFound);
  for (std::uint64_t i = 1; i < GrantTable::kCapacity; ++i) {
    ASSERT_EQ(grant(100 + i, 1), Status::kOk);
  }
  EXPECT_EQ(grant(1000, 1), Status::kFull);
  EXPECT_EQ(get(kCountRegister), GrantTable::kCapacity);
  EXPECT_EQ(run(Command::kRevokeAll), Status::kOk);
  EXPECT_EQ(get(kCountRegister), 0u);
  EXPECT_FALSE(tools_read(20));
}

TEST_F(GrantRegistersTest, QueryWalksTheGrants) {
  EXPECT_EQ(run(Command::kQuery), Status::kNotFound);
  ASSERT_EQ(grant(20, 3, kRightRead, 0), Status::kOk);
  ASSERT_EQ(grant(50, 1, kRightRead | kRightWrite, 9), Status::kOk);
  put(kHandleRegister, std::uint32_t{0});
  ASSERT_EQ(run(Command::kQuery), Status::kOk);
  EXPECT_EQ(get<std::uint64_t>(kFirstRegister), 20u);
  EXPECT_EQ(get<std::uint64_t>(kPagesRegister), 3u);
  EXPECT_EQ(get(kGranteeRegister), 0u);
  EXPECT_EQ(get(kRightsRegister), kRightRead);
  put(kHandleRegister, get(kHandleRegister) + 1);
  ASSERT_EQ(run(Command::kQuery), Status::kOk);
  EXPECT_EQ(get<std::uint64_t>(kFirstRegister), 50u);
  EXPECT_EQ(get(kGranteeRegister), 9u);
  EXPECT_EQ(get(kRightsRegister), kRightRead | kRightWrite);
  put(kHandleRegister, get(kHandleRegister) + 1);
  EXPECT_EQ(run(Command::kQuery), Status::kNotFound);
}

TEST_F(GrantRegistersTest, AccessesOfTwoSizes) {
  put(kFirstRegister, 0x1122'3344'5566'7788);
  EXPECT_EQ(get(kFirstRegister), 0x5566'7788u);
  EXPECT_EQ(get(kFirstRegister + 4), 0x1122'3344u);
  put(kFirstRegister + 4, std::uint32_t{5});
  EXPECT_EQ(get<std::uint64_t>(kFirstRegister), 0x5'5566'7788u);
  put(kFirstRegister, std::uint32_t{7});
  EXPECT_EQ(get<std::uint64_t>(kFirstRegister), 0x5'0000'0007u);
  put(kPagesRegister, 0x1'0000'0002);
  EXPECT_EQ(get<std::uint64_t>(kPagesRegister), 0x1'0000'0002u);
  // Handle and command in one: the handle comes first.
  ASSERT_EQ(grant(20, 1), Status::kOk);
  const std::uint64_t handle = get(kHandleRegister);
  put(kHandleRegister, std::uint32_t{0});
  put(kHandleRegister, std::uint64_t{2} << 32 | handle);
  EXPECT_EQ(get(kStatusRegister), 0u);
  EXPECT_FALSE(tools_read(20));
}

TEST_F(GrantRegistersTest, OtherAccessesDoNothing) {
  ASSERT_EQ(grant(20, 1), Status::kOk);
  const std::vector<std::byte> before = state_of(registers_);
  const auto all = static_cast<std::uint8_t>(Command::kRevokeAll);
  put<std::uint8_t>(kCommandRegister, all);
  put<std::uint16_t>(kCommandRegister, all);
  put<std::uint32_t>(kCommandRegister - 1, 0x300);
  put<std::uint32_t>(kCommandRegister + 1, all);
  put<std::uint64_t>(kCommandRegister, all);  // not aligned to 8
  const std::array<std::byte, 3> three{std::byte{all}};
  registers_.write(kCommandRegister, three);
  put<std::uint32_t>(kStatusRegister, 7);
  put<std::uint32_t>(kCountRegister, 7);
  put<std::uint64_t>(kMagicRegister, 7);
  put<std::uint64_t>(kBarBytes - 8, 7);
  EXPECT_EQ(state_of(registers_), before);
  EXPECT_EQ(get<std::uint8_t>(kMagicRegister), 0);
  EXPECT_EQ(get<std::uint16_t>(kMagicRegister), 0);
  EXPECT_EQ(get<std::uint32_t>(kMagicRegister + 2), 0u);
  EXPECT_EQ(get<std::uint64_t>(kMagicRegister + 4), 0u);
  put<std::uint32_t>(kCommandRegister, all);  // the control
  EXPECT_NE(state_of(registers_), before);
}

TEST_F(GrantRegistersTest, HostThatRefuses) {
  class Refusing : public GrantKeeper {
   public:
    Result<GrantHandle> grant(const Grant&) override { return error; }
    Result<void> revoke(GrantHandle) override { return error; }
    void revoke_all() override {}
    std::optional<HeldGrant> next(GrantHandle) const override { return std::nullopt; }
    std::size_t count() const override { return 0; }
    void save(StateWriter&) const override {}
    Result<void> restore(StateReader&) override { return {}; }
    Error error{Errc::kPermission, 0, "refused by the test"};
  } keeper;
  GrantRegisters device(keeper);
  const auto status = [&](Command command) {
    device_write(device, kRightsRegister, kRightRead);
    device_write(device, kCommandRegister, static_cast<std::uint32_t>(command));
    return Status{device_read<std::uint32_t>(device, kStatusRegister)};
  };
  EXPECT_EQ(status(Command::kGrant), Status::kRefused);
  keeper.error = {Errc::kClosed, 0, "the daemon went away"};
  EXPECT_EQ(status(Command::kGrant), Status::kFailed);
  EXPECT_EQ(status(Command::kRevoke), Status::kFailed);
}

TEST(GrantDevice, IsAPciFunctionWithAPageOfRegisters) {
  auto memory = GuestMemory::create({.size_bytes = kSize}).value();
  MemoryGrants grants(*memory);
  Bus mmio(kGiB);
  GrantDevice function(grants, mmio);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0), 0x10f0'1af4u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 0x2c), 0x4247'1af4u);
  EXPECT_EQ(read_config<std::uint32_t>(function, 8), 0x0880'0001u);
  EXPECT_EQ(function.bar(0).size, kPageSize);
  function.assign_bar(GrantDevice::kBar, Gpa(0x10000));
  EXPECT_EQ(read_bus<std::uint64_t>(mmio, 0x10000), ~std::uint64_t{0});  // not yet switched on
  write_config<std::uint16_t>(function, 4, 2);
  EXPECT_EQ(read_bus<std::uint64_t>(mmio, 0x10000), kMagic);
}

TEST(GrantDevice, SaveAndRestore) {
  auto memory = GuestMemory::create({.size_bytes = kSize}).value();
  MemoryGrants grants(*memory);
  std::vector<std::byte> state;
  {
    Bus mmio(kGiB);
    GrantDevice function(grants, mmio);
    function.assign_bar(GrantDevice::kBar, Gpa(0x10000));
    write_config<std::uint16_t>(function, 4, 2);
    write_bus<std::uint64_t>(mmio, 0x10000 + kFirstRegister, 20);
    write_bus<std::uint64_t>(mmio, 0x10000 + kPagesRegister, 3);
    write_bus<std::uint32_t>(mmio, 0x10000 + kRightsRegister, kRightRead);
    write_bus<std::uint32_t>(mmio, 0x10000 + kCommandRegister, 1);
    state = state_of(function);
  }
  MemoryGrants others(*memory);
  Bus mmio(kGiB);
  GrantDevice other(others, mmio);
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(other, std::span(state).first(length)));
  }
  ASSERT_TRUE(restore_state(other, state));
  EXPECT_EQ(read_bus<std::uint32_t>(mmio, 0x10000 + kHandleRegister), 1u);
  EXPECT_EQ(others.next(GrantHandle::kNone)->grant.pages, 3u);
  EXPECT_EQ(state_of(other), state);
}

}  // namespace
}  // namespace bulkhead
