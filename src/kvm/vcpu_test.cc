// SPDX-License-Identifier: Apache-2.0
#include "kvm/vcpu.h"

#include <gtest/gtest.h>

#include "kvm/tiny_guest.h"

namespace bulkhead::kvm {
namespace {

#define NEW_GUEST(name, ...)                  \
  auto name = TinyGuest::create(__VA_ARGS__); \
  if (name == nullptr) GTEST_SKIP() << "no /dev/kvm"

template <class T>
T expect_exit(Vcpu& vcpu) {
  auto exit = vcpu.run();
  EXPECT_TRUE(exit) << exit.error().what << " errno " << exit.error().os_errno;
  if (!exit) return {};
  const T* expected = std::get_if<T>(&*exit);
  EXPECT_NE(expected, nullptr) << "exit is alternative " << exit->index();
  return expected == nullptr ? T{} : *expected;
}

std::uint8_t first(std::span<const std::byte> bytes) {
  return bytes.empty() ? 0 : std::to_integer<std::uint8_t>(bytes[0]);
}

TEST(Vcpu, LongModeEntryDoesPortAndMemoryAccesses) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0x48, 0x89, 0xf0,                          // mov rax, rsi
                           0x66, 0xba, 0xf8, 0x03,                    // mov dx, 0x3f8
                           0x66, 0xef,                                // out dx, ax
                           0xec,                                      // in al, dx
                           0xa2, 0,    0,    0x30, 0, 0,    0, 0, 0,  // mov [0x300000], al
                           0x8b, 0x1c, 0x25, 0x10, 0, 0x30, 0,        // mov ebx, [0x300010]
                           0xf4});                                    // hlt
  ASSERT_TRUE(prepare(vcpu));
  ASSERT_TRUE(enter(vcpu, entry));

  auto out = expect_exit<PioOut>(vcpu);
  EXPECT_EQ(out.port, PortAddr(0x3f8));
  EXPECT_EQ(out.size, 2);
  EXPECT_EQ(out.count, 1u);
  ASSERT_EQ(out.bytes.size(), 2u);
  EXPECT_EQ(out.bytes[1], std::byte{0x70});  // RSI: boot_params is 0x7000

  auto in = expect_exit<PioIn>(vcpu);
  ASSERT_EQ(in.bytes.size(), 1u);
  in.bytes[0] = std::byte{0x5a};

  auto store = expect_exit<MmioWrite>(vcpu);
  EXPECT_EQ(store.gpa, Gpa(0x300000));
  ASSERT_EQ(store.bytes.size(), 1u);
  EXPECT_EQ(first(store.bytes), 0x5a);

  auto load = expect_exit<MmioRead>(vcpu);
  EXPECT_EQ(load.gpa, Gpa(0x300010));
  ASSERT_EQ(load.bytes.size(), 4u);
  std::uint32_t answer = 0xdeadbeef;
  std::memcpy(load.bytes.data(), &answer, 4);

  expect_exit<Halt>(vcpu);
  auto registers = vcpu.registers();
  ASSERT_TRUE(registers);
  EXPECT_EQ(registers->rbx, 0xdeadbeefu);
}

TEST(Vcpu, ProtectedModeEntryHasStartInfoInEbx) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  guest->write(kTinyCode, {0x89, 0xd8, 0xe7, 0x80, 0xf4});  // mov eax, ebx; out 0x80, eax; hlt
  ASSERT_TRUE(enter(vcpu, ProtectedModeEntry{.rip = kTinyCode, .start_info = Gpa(0x12345678)}));
  auto out = expect_exit<PioOut>(vcpu);
  std::uint32_t value = 0;
  ASSERT_EQ(out.bytes.size(), sizeof value);
  std::memcpy(&value, out.bytes.data(), sizeof value);
  EXPECT_EQ(value, 0x12345678u);
  expect_exit<Halt>(vcpu);
}

TEST(Vcpu, StringOutputCarriesAllItsBytes) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0x66, 0xba, 0xf8, 0x03,  // mov dx, 0x3f8
                           0xb9, 5, 0, 0, 0,        // mov ecx, 5
                           0xf3, 0x6e, 0xf4});      // rep outsb; hlt
  std::memcpy(guest->at(entry.boot_params), "hello", 5);
  ASSERT_TRUE(enter(vcpu, entry));
  std::string text;
  while (text.size() < 5) {
    auto out = expect_exit<PioOut>(vcpu);
    ASSERT_EQ(out.bytes.size(), std::size_t{out.size} * out.count);
    ASSERT_FALSE(out.bytes.empty());
    for (std::byte byte : out.bytes) text.push_back(static_cast<char>(byte));
  }
  EXPECT_EQ(text, "hello");
  expect_exit<Halt>(vcpu);
}

TEST(Vcpu, TripleFaultIsAShutdown) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0x0f, 0x0b});  // ud2 without an IDT
  ASSERT_TRUE(enter(vcpu, entry));
  expect_exit<Shutdown>(vcpu);
}

TEST(Vcpu, StoreToReadOnlySlotExitsAndChangesNothing) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  ASSERT_TRUE(guest->vm.set_slot({.id = 1,
                                  .base = Gpa(0x400000),
                                  .size_bytes = kPageSize,
                                  .host = guest->host(Gpa(0x100000)),
                                  .read_only = true}));
  guest->write(Gpa(0x100000), {0x77});
  guest->write(kTinyCode, {0xa0, 0,    0, 0x40, 0, 0, 0, 0, 0,  // mov al, [0x400000]
                           0xfe, 0xc0,                          // inc al
                           0xa2, 0,    0, 0x40, 0, 0, 0, 0, 0,  // mov [0x400000], al
                           0xf4});
  ASSERT_TRUE(enter(vcpu, entry));
  auto store = expect_exit<MmioWrite>(vcpu);
  EXPECT_EQ(store.gpa, Gpa(0x400000));
  EXPECT_EQ(first(store.bytes), 0x78);
  EXPECT_EQ(*guest->at(Gpa(0x100000)), std::byte{0x77});
}

TEST(Vcpu, ExitRequestIsTakenOnce) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0xf4});
  ASSERT_TRUE(enter(vcpu, entry));
  vcpu.request_exit();
  expect_exit<Interrupted>(vcpu);
  expect_exit<Halt>(vcpu);
}

TEST(Vcpu, FinishExitCompletesTheInstruction) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto entry = guest->long_mode();
  guest->write(kTinyCode, {0xe4, 0x71, 0xf4});  // in al, 0x71; hlt
  ASSERT_TRUE(enter(vcpu, entry));
  expect_exit<PioIn>(vcpu).bytes[0] = std::byte{0x42};
  auto finished = vcpu.finish_exit();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(std::holds_alternative<Interrupted>(*finished));
  auto registers = vcpu.registers();
  ASSERT_TRUE(registers);
  EXPECT_EQ(registers->rax & 0xff, 0x42u);
  EXPECT_EQ(registers->rip, (kTinyCode + 2).value());
}

TEST(Vcpu, PrefaultMapsOrSaysThatItCannot) {
  NEW_GUEST(guest);
  Vcpu vcpu = guest->add_vcpu();
  auto done = vcpu.prefault(Gpa(0), kTinyRam);
  EXPECT_TRUE(done || done.error().code == Errc::kUnsupported) << done.error().os_errno;
}

TEST(Vcpu, ApplicationProcessorWaitsAndCanBeInterrupted) {
  NEW_GUEST(guest, true);
  Vcpu boot = guest->add_vcpu(0);
  Vcpu second = guest->add_vcpu(1);
  auto state = second.mp_state();
  ASSERT_TRUE(state);
  EXPECT_EQ(*state, MpState::kUninitialized);
  second.request_exit();
  expect_exit<Interrupted>(second);
}

}  // namespace
}  // namespace bulkhead::kvm
