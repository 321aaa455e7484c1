// SPDX-License-Identifier: Apache-2.0
#include "kvm/exit.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kvm/abi.h"

namespace bulkhead::kvm {
namespace {

constexpr std::size_t kPages = 3 * kPageSize;  // as KVM maps it: kvm_run, PIO data, coalesced ring

// A kvm_run area as the kernel could have filled it.
class RunArea {
 public:
  explicit RunArea(std::uint32_t reason) { put(offsetof(kvm_run, exit_reason), reason); }

  template <class T>
  void put(std::size_t offset, const T& value) {
    std::memcpy(area_.data() + offset, &value, sizeof value);
  }
  Exit decode() { return decode_exit(area_); }
  std::span<std::byte> bytes() { return area_; }

 private:
  std::vector<std::byte> area_ = std::vector<std::byte>(kPages);
};

using Io = decltype(kvm_run::io);
using Mmio = decltype(kvm_run::mmio);

Exit decode_io(const Io& io) {
  static RunArea area(KVM_EXIT_IO);
  area.put(offsetof(kvm_run, io), io);
  return area.decode();
}

Io byte_out() {
  return {.direction = KVM_EXIT_IO_OUT, .size = 1, .port = 0x3f8, .count = 1, .data_offset = 4096};
}

void expect_unknown(const Exit& exit, std::uint32_t reason) {
  const auto* unknown = std::get_if<Unknown>(&exit);
  ASSERT_NE(unknown, nullptr) << "alternative " << exit.index();
  EXPECT_EQ(unknown->reason, reason);
}

TEST(DecodeExit, PortOutput) {
  RunArea area(KVM_EXIT_IO);
  area.put(offsetof(kvm_run, io), Io{KVM_EXIT_IO_OUT, 4, 0xcf8, 2, kPageSize});
  area.put(kPageSize, std::uint64_t{0x1122334455667788});
  Exit exit = area.decode();
  const auto* out = std::get_if<PioOut>(&exit);
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(out->port, PortAddr(0xcf8));
  EXPECT_EQ(out->size, 4);
  EXPECT_EQ(out->count, 2u);
  ASSERT_EQ(out->bytes.size(), 8u);
  EXPECT_EQ(out->bytes[0], std::byte{0x88});
  EXPECT_EQ(out->bytes.data(), area.bytes().data() + kPageSize);
}

TEST(DecodeExit, PortInputIsWritable) {
  Io io = byte_out();
  io.direction = KVM_EXIT_IO_IN;
  Exit exit = decode_io(io);
  const auto* in = std::get_if<PioIn>(&exit);
  ASSERT_NE(in, nullptr);
  in->bytes[0] = std::byte{7};
  EXPECT_EQ(in->bytes.size(), 1u);
}

TEST(DecodeExit, PortDataMayReachTheEndButNotBeyond) {
  Io io = byte_out();
  io.data_offset = kPages - 1;
  EXPECT_TRUE(std::holds_alternative<PioOut>(decode_io(io)));
  io.data_offset = kPages;
  expect_unknown(decode_io(io), KVM_EXIT_IO);
  io.data_offset = kPages - 3;
  io.size = 4;
  expect_unknown(decode_io(io), KVM_EXIT_IO);
  io.data_offset = UINT64_MAX - 1;  // offset + size wraps
  expect_unknown(decode_io(io), KVM_EXIT_IO);
}

TEST(DecodeExit, PortDataMustNotAliasTheFixedPart) {
  Io io = byte_out();
  io.data_offset = sizeof(kvm_run) - 1;
  expect_unknown(decode_io(io), KVM_EXIT_IO);
  io.data_offset = 0;
  expect_unknown(decode_io(io), KVM_EXIT_IO);
}

TEST(DecodeExit, PortShapesThatDoNotExist) {
  for (int size : {0, 3, 5, 8, 255}) {
    Io io = byte_out();
    io.size = static_cast<std::uint8_t>(size);
    expect_unknown(decode_io(io), KVM_EXIT_IO);
  }
  for (std::uint32_t count : {0U, 4097U, 0x40000001U, UINT32_MAX}) {
    Io io = byte_out();
    io.size = 4;
    io.count = count;
    expect_unknown(decode_io(io), KVM_EXIT_IO);
  }
}

TEST(DecodeExit, LongestStringIsAPage) {
  Io io = byte_out();
  io.size = 2;
  io.count = 2048;
  EXPECT_TRUE(std::holds_alternative<PioOut>(decode_io(io)));
  io.count = 2049;
  expect_unknown(decode_io(io), KVM_EXIT_IO);
}

TEST(DecodeExit, Mmio) {
  RunArea area(KVM_EXIT_MMIO);
  area.put(offsetof(kvm_run, mmio), Mmio{0xd0000010, {1, 2, 3, 4, 5, 6, 7, 8}, 8, 1});
  Exit store = area.decode();
  const auto* write = std::get_if<MmioWrite>(&store);
  ASSERT_NE(write, nullptr);
  EXPECT_EQ(write->gpa, Gpa(0xd0000010));
  ASSERT_EQ(write->bytes.size(), 8u);
  EXPECT_EQ(write->bytes[7], std::byte{8});

  area.put(offsetof(kvm_run, mmio), Mmio{0xd0000010, {}, 2, 0});
  Exit load = area.decode();
  const auto* read = std::get_if<MmioRead>(&load);
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->bytes.size(), 2u);
}

TEST(DecodeExit, MmioLengthIsBounded) {
  RunArea area(KVM_EXIT_MMIO);
  for (std::uint32_t length : {0U, 9U, UINT32_MAX}) {
    area.put(offsetof(kvm_run, mmio), Mmio{0, {}, length, 1});
    expect_unknown(area.decode(), KVM_EXIT_MMIO);
  }
}

TEST(DecodeExit, EmulationFailureHasTheInstruction) {
  using Failure = decltype(kvm_run::emulation_failure);
  Failure failure{};
  failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
  failure.ndata = 3;
  failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
  failure.insn_size = 200;  // more than an instruction can have
  failure.insn_bytes[0] = 0x0f;
  RunArea area(KVM_EXIT_INTERNAL_ERROR);
  area.put(offsetof(kvm_run, emulation_failure), failure);
  Exit exit = area.decode();
  ASSERT_TRUE(std::holds_alternative<EmulationFailure>(exit));
  EXPECT_EQ(std::get<EmulationFailure>(exit).instruction_size, 15);
  EXPECT_EQ(std::get<EmulationFailure>(exit).instruction[0], std::byte{0x0f});

  failure.ndata = 1;  // the bytes were not filled in
  area.put(offsetof(kvm_run, emulation_failure), failure);
  EXPECT_EQ(std::get<EmulationFailure>(area.decode()).instruction_size, 0);
}

TEST(DecodeExit, InternalErrorWithoutDataHasNoDetail) {
  decltype(kvm_run::internal) internal{};
  internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
  internal.data[0] = 0x77;
  RunArea area(KVM_EXIT_INTERNAL_ERROR);
  area.put(offsetof(kvm_run, internal), internal);
  EXPECT_EQ(std::get<InternalError>(area.decode()).detail, 0u);
  internal.ndata = 1;
  area.put(offsetof(kvm_run, internal), internal);
  EXPECT_EQ(std::get<InternalError>(area.decode()).detail, 0x77u);
}

TEST(DecodeExit, MemoryFault) {
  RunArea area(abi::kExitMemoryFault);
  area.put(offsetof(kvm_run, hw), abi::MemoryFaultExit{abi::kMemoryFaultPrivate, 0x1000, 0x2000});
  Exit exit = area.decode();
  ASSERT_TRUE(std::holds_alternative<MemoryFault>(exit));
  EXPECT_EQ(std::get<MemoryFault>(exit).gpa, Gpa(0x1000));
  EXPECT_EQ(std::get<MemoryFault>(exit).size_bytes, 0x2000u);
  EXPECT_TRUE(std::get<MemoryFault>(exit).is_private);
}

TEST(DecodeExit, PlainReasons) {
  EXPECT_TRUE(std::holds_alternative<Halt>(RunArea(KVM_EXIT_HLT).decode()));
  EXPECT_TRUE(std::holds_alternative<Shutdown>(RunArea(KVM_EXIT_SHUTDOWN).decode()));
  EXPECT_TRUE(std::holds_alternative<EntryFailed>(RunArea(KVM_EXIT_FAIL_ENTRY).decode()));
  EXPECT_TRUE(std::holds_alternative<Interrupted>(RunArea(KVM_EXIT_INTR).decode()));
  RunArea event(KVM_EXIT_SYSTEM_EVENT);
  event.put(offsetof(kvm_run, system_event), std::uint32_t{KVM_SYSTEM_EVENT_RESET});
  EXPECT_EQ(std::get<SystemEvent>(event.decode()).type, 2u);
}

TEST(DecodeExit, EveryOtherReasonIsUnknown) {
  for (std::uint32_t reason : {0U, 1U, 3U, 4U, 29U, 100U, UINT32_MAX}) {
    expect_unknown(RunArea(reason).decode(), reason);
  }
}

TEST(DecodeExit, AreaSmallerThanItsHeadIsNotRead) {
  std::vector<std::byte> small(sizeof(kvm_run) - 1, std::byte{2});
  expect_unknown(decode_exit(small), KVM_EXIT_UNKNOWN);
  expect_unknown(decode_exit({}), KVM_EXIT_UNKNOWN);
}

}  // namespace
}  // namespace bulkhead::kvm
