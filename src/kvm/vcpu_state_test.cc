// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "kvm/tiny_guest.h"
#include "kvm/vcpu.h"

namespace bulkhead::kvm {
namespace {

// A guest that loads a pattern into RBX and CR2, stops at a port, and then shows both at ports.
void load_program(TinyGuest& guest) {
  guest.write(kTinyCode, {0xbb, 0x78, 0x56, 0x34, 0x12,  // mov ebx, 0x12345678
                          0x0f, 0x22, 0xd3,              // mov cr2, rbx
                          0x31, 0xc0,                    // xor eax, eax
                          0xe7, 0x80,                    // out 0x80, eax
                          0x0f, 0x20, 0xd0,              // mov rax, cr2
                          0xe7, 0x80,                    // out 0x80, eax
                          0x89, 0xd8,                    // mov eax, ebx
                          0xe7, 0x80,                    // out 0x80, eax
                          0xf4});
}

std::uint32_t run_to_output(Vcpu& vcpu) {
  auto exit = vcpu.run();
  const PioOut* out = exit ? std::get_if<PioOut>(&*exit) : nullptr;
  EXPECT_NE(out, nullptr);
  std::uint32_t value = 0;
  if (out != nullptr && out->bytes.size() == 4) std::memcpy(&value, out->bytes.data(), 4);
  return value;
}

// Whether what KVM shares with this process of its processors has these bytes.
bool shared_areas_have(std::span<const std::byte> pattern) {
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("kvm-vcpu") == std::string::npos) continue;
    std::uint64_t start = 0, end = 0;
    EXPECT_EQ(std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &start, &end), 2);
    const std::span area(reinterpret_cast<const std::byte*>(start), end - start);
    found |= !std::ranges::search(area, pattern).empty();
  }
  return found;
}

class VcpuState : public testing::Test {
 protected:
  void SetUp() override {
    guest_ = TinyGuest::create(true);
    if (guest_ == nullptr) GTEST_SKIP() << "no /dev/kvm";
    auto msrs = guest_->system.saved_msrs();
    ASSERT_TRUE(msrs);
    EXPECT_GT(msrs->size(), 10u);
    load_program(*guest_);
    auto vcpu = guest_->add_vcpu();
    ASSERT_TRUE(prepare(vcpu));
    ASSERT_TRUE(enter(vcpu, guest_->long_mode()));
    EXPECT_EQ(run_to_output(vcpu), 0u);
    auto finished = vcpu.finish_exit();
    ASSERT_TRUE(finished && std::holds_alternative<Interrupted>(*finished));
    auto saved = vcpu.save(*msrs);
    ASSERT_TRUE(saved) << saved.error().what;
    blob_ = std::move(*saved);
  }

  // A guest with the same memory and a fresh processor.
  std::unique_ptr<TinyGuest> other() {
    auto guest = TinyGuest::create(true);
    load_program(*guest);
    guest->long_mode();
    return guest;
  }

  std::unique_ptr<TinyGuest> guest_;
  std::vector<std::byte> blob_;
};

TEST_F(VcpuState, ContinuesInAnotherVm) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  auto restored = vcpu.restore(blob_);
  ASSERT_TRUE(restored) << restored.error().what << " errno " << restored.error().os_errno;
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
}

TEST_F(VcpuState, DataIsTakenOutAndPutBack) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  ASSERT_TRUE(vcpu.restore(blob_));
  auto msrs = guest_->system.saved_msrs();
  ASSERT_TRUE(msrs);
  const std::array<std::byte, 4> pattern{std::byte{0x78}, std::byte{0x56}, std::byte{0x34},
                                         std::byte{0x12}};
  // CR2 has it, too, here; but that is an address and no data.
  auto occurrences = [&](const std::vector<std::byte>& blob) {
    int count = 0;
    for (auto at = blob.begin();; ++at, ++count) {
      at = std::search(at, blob.end(), pattern.begin(), pattern.end());
      if (at == blob.end()) return count;
    }
  };
  ASSERT_EQ(occurrences(blob_), 2);
  const auto taken = vcpu.data();
  ASSERT_TRUE(taken);
  EXPECT_EQ(occurrences(*taken), 1);
  EXPECT_EQ(vcpu.registers()->rbx, 0x12345678u);
  ASSERT_TRUE(vcpu.wipe_data());
  EXPECT_EQ(vcpu.registers()->rbx, 0u);
  EXPECT_EQ(occurrences(*vcpu.save(*msrs)), 1);
  for (std::size_t size = 0; size < taken->size(); ++size) {
    EXPECT_FALSE(vcpu.put_back_data(std::span(*taken).first(size))) << size;
  }
  ASSERT_TRUE(vcpu.put_back_data(*taken));
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
}

TEST_F(VcpuState, WhatWentThroughAPortIsWiped) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  ASSERT_TRUE(vcpu.restore(blob_));
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
  const auto finished = vcpu.finish_exit();
  ASSERT_TRUE(finished && std::holds_alternative<Interrupted>(*finished));
  const std::array<std::byte, 4> pattern{std::byte{0x78}, std::byte{0x56}, std::byte{0x34},
                                         std::byte{0x12}};
  EXPECT_TRUE(shared_areas_have(pattern));
  const auto data = vcpu.data();
  ASSERT_TRUE(data && vcpu.wipe_data());
  EXPECT_FALSE(shared_areas_have(pattern));
  ASSERT_TRUE(vcpu.put_back_data(*data));
  EXPECT_EQ(run_to_output(vcpu), 0x12345678u);
}

TEST_F(VcpuState, SavesTheSameAgain) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  ASSERT_TRUE(vcpu.restore(blob_));
  auto again = vcpu.save(*guest->system.saved_msrs());
  ASSERT_TRUE(again);
  // The registers and XSAVE, that is; the MSRs that follow have clocks among them.
  constexpr std::size_t kFirstPart = 8;
  std::uint32_t fixed = 0, xsave = 0;
  std::memcpy(&fixed, blob_.data() + kFirstPart, 4);
  std::memcpy(&xsave, blob_.data() + kFirstPart + 4 + fixed, 4);
  std::size_t compared = kFirstPart + 4 + fixed + 4 + xsave;
  ASSERT_EQ(again->size(), blob_.size());
  ASSERT_LT(compared, blob_.size());
  EXPECT_TRUE(std::equal(blob_.begin(), blob_.begin() + static_cast<std::ptrdiff_t>(compared),
                         again->begin()));
}

TEST_F(VcpuState, EveryTruncationIsRefusedAndChangesNothing) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  auto before = vcpu.registers();
  for (std::size_t size = 0; size < blob_.size(); ++size) {
    ASSERT_FALSE(vcpu.restore(std::span(blob_).first(size))) << size;
  }
  auto after = vcpu.registers();
  ASSERT_TRUE(before && after);
  EXPECT_EQ(before->rip, after->rip);
  EXPECT_EQ(after->rbx, before->rbx);
}

TEST_F(VcpuState, WrongHeadAndTrailingBytesAreRefused) {
  auto guest = other();
  Vcpu vcpu = guest->add_vcpu();
  auto longer = blob_;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(vcpu.restore(longer));
  for (std::size_t offset : {0U, 4U, 8U}) {  // magic, version, size of the first part
    auto changed = blob_;
    changed[offset] ^= std::byte{1};
    EXPECT_FALSE(vcpu.restore(changed)) << offset;
  }
  auto huge = blob_;
  std::memset(huge.data() + 8, 0xff, 4);
  EXPECT_FALSE(vcpu.restore(huge));
}

}  // namespace
}  // namespace bulkhead::kvm
