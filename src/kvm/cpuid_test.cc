// SPDX-License-Identifier: Apache-2.0
#include "kvm/cpuid.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "kvm/system.h"

namespace bulkhead::kvm {
namespace {

constexpr std::uint32_t kAll = 0xffffffff;

CpuidTable intel() {
  return CpuidTable({
      {.function = 0, .eax = 0x1f, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
      {.function = 1, .ebx = 0x63400800, .ecx = kAll & ~(1U << 24), .edx = kAll},
      {.function = 4, .index = 0, .indexed = true, .eax = 0xfc1fc121},  // L1
      {.function = 4, .index = 1, .indexed = true, .eax = 0xfc1fc143},  // L2
      {.function = 4, .index = 2, .indexed = true, .eax = 0xfc1fc163},  // L3
      {.function = 4, .index = 3, .indexed = true},
      {.function = 7, .index = 0, .indexed = true, .eax = 1, .ebx = kAll, .ecx = kAll, .edx = kAll},
      {.function = 7, .index = 1, .indexed = true, .eax = kAll, .edx = kAll},
      {.function = 0xa, .eax = 0x08300805},
      {.function = 0xb, .index = 0, .indexed = true, .ecx = 0x100, .edx = 77},
      {.function = 0xd, .index = 0, .indexed = true, .eax = 0x602ff, .ebx = 576, .ecx = 11008},
      {.function = 0xd, .index = 1, .indexed = true, .eax = 0x1f, .ecx = 0x9900},
      {.function = 0xd, .index = 2, .indexed = true, .eax = 256, .ebx = 576},
      {.function = 0xd, .index = 3, .indexed = true, .eax = 64, .ebx = 960},
      {.function = 0xd, .index = 4, .indexed = true, .eax = 64, .ebx = 1024},
      {.function = 0xd, .index = 7, .indexed = true, .eax = 1024, .ebx = 1664},
      {.function = 0xd, .index = 9, .indexed = true, .eax = 8, .ebx = 2688},
      {.function = 0xd, .index = 18, .indexed = true, .eax = 8192, .ebx = 2816},
      {.function = 0x14, .index = 0, .indexed = true, .eax = 1},
      {.function = 0x40000000, .eax = 0x40000001},
      {.function = 0x40000001, .eax = 0x0101feff, .edx = 0},
      {.function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800},
      {.function = 0x80000008, .eax = 0x302e, .ecx = 0},
  });
}

CpuidTable amd() {
  return CpuidTable({
      {.function = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65},
      {.function = 1, .ebx = 0x00400800, .ecx = 0x7ef83203, .edx = 0x178bfbff},
      {.function = 0x80000001, .ecx = kAll, .edx = 0x2fd3fbff},
      {.function = 0x80000008, .eax = 0x3030, .ebx = 0x1000, .ecx = 0x703f},
      {.function = 0x8000000a, .eax = 1, .ebx = 8, .edx = kAll},
      {.function = 0x8000001d, .index = 0, .indexed = true, .eax = 0x4121},
      {.function = 0x8000001d, .index = 1, .indexed = true, .eax = 0x1c163},
      {.function = 0x8000001d, .index = 2, .indexed = true},
      {.function = 0x8000001e, .eax = 99, .ebx = 0x10f, .ecx = 0x703, .edx = 0},
      {.function = 0x8000001f, .eax = kAll},
      {.function = 0x80000022, .eax = 1},
  });
}

bool has_bit(std::uint32_t word, unsigned number) {
  return (word >> number & 1) != 0;
}

TEST(GuestCpuid, IdentityIsTheVcpus) {
  auto table = make_guest_cpuid(intel(), {.vcpu_id = 5, .vcpu_count = 6, .tsc_deadline = true});
  const CpuidEntry* leaf = table.find(1);
  EXPECT_EQ(leaf->ebx >> 24, 5u);
  EXPECT_EQ(leaf->ebx >> 16 & 0xff, 6u);
  EXPECT_EQ(leaf->ebx & 0xff00, 0x0800u);  // CLFLUSH size stays
  EXPECT_TRUE(has_bit(leaf->edx, 28));
  EXPECT_TRUE(has_bit(leaf->ecx, 31));
  EXPECT_TRUE(has_bit(leaf->ecx, 24));
}

TEST(GuestCpuid, SingleProcessorHasNoSiblings) {
  auto table = make_guest_cpuid(intel(), {});
  EXPECT_FALSE(has_bit(table.find(1)->edx, 28));
  EXPECT_FALSE(has_bit(table.find(1)->ecx, 24));
  EXPECT_EQ(table.find(0xb, 1)->eax, 0u);
  EXPECT_EQ(table.find(4, 2)->eax >> 14 & 0xfff, 0u);
}

TEST(GuestCpuid, ExtendedTopologyHasOneThreadPerCoreAndOnePackage) {
  auto table = make_guest_cpuid(intel(), {.vcpu_id = 2, .vcpu_count = 5});
  for (std::uint32_t function : {0xbU, 0x1fU}) {
    const CpuidEntry* smt = table.find(function, 0);
    ASSERT_NE(smt, nullptr);
    EXPECT_EQ(smt->eax, 0u);
    EXPECT_EQ(smt->ebx, 1u);
    EXPECT_EQ(smt->ecx, 0x100u);
    EXPECT_EQ(smt->edx, 2u);
    const CpuidEntry* core = table.find(function, 1);
    ASSERT_NE(core, nullptr);
    EXPECT_EQ(core->eax, 3u);  // ids 0 to 7
    EXPECT_EQ(core->ebx, 5u);
    EXPECT_EQ(core->ecx, 0x201u);
    EXPECT_EQ(core->edx, 2u);
    const CpuidEntry* end = table.find(function, 2);
    ASSERT_NE(end, nullptr);
    EXPECT_EQ(end->ecx & 0xff00, 0u);
  }
}

TEST(GuestCpuid, LeavesBeyondTheProcessorsRangeAreNotInvented) {
  auto supported = intel();
  supported.find(0)->eax = 0xd;
  auto table = make_guest_cpuid(supported, {.vcpu_count = 2});
  EXPECT_NE(table.find(0xb), nullptr);
  EXPECT_EQ(table.find(0x1f), nullptr);
}

TEST(GuestCpuid, CachesArePrivateButTheLast) {
  auto table = make_guest_cpuid(intel(), {.vcpu_count = 4});
  EXPECT_EQ(table.find(4, 0)->eax, 0x0c000121u);
  EXPECT_EQ(table.find(4, 1)->eax, 0x0c000143u);
  EXPECT_EQ(table.find(4, 2)->eax, 0x0c00c163u);
  EXPECT_EQ(table.find(4, 3)->eax, 0u);
}

TEST(GuestCpuid, HiddenFeaturesAreGone) {
  auto table = make_guest_cpuid(intel(), {});
  EXPECT_FALSE(has_bit(table.find(1)->ecx, 3));      // MONITOR
  EXPECT_FALSE(has_bit(table.find(1)->ecx, 5));      // VMX
  EXPECT_FALSE(has_bit(table.find(1)->ecx, 15));     // PDCM
  EXPECT_FALSE(has_bit(table.find(7, 0)->ebx, 14));  // MPX
  EXPECT_FALSE(has_bit(table.find(7, 0)->ecx, 5));   // WAITPKG
  EXPECT_FALSE(has_bit(table.find(7, 0)->edx, 19));  // LBR
  EXPECT_FALSE(has_bit(table.find(7, 0)->edx, 24));  // AMX
  EXPECT_FALSE(has_bit(table.find(7, 1)->eax, 21));
  EXPECT_EQ(table.find(0xa), nullptr);
  EXPECT_EQ(table.find(0x14), nullptr);
  // And what is not hidden stays.
  EXPECT_TRUE(has_bit(table.find(7, 0)->ebx, 5));   // AVX2
  EXPECT_TRUE(has_bit(table.find(7, 0)->edx, 29));  // ARCH_CAPABILITIES
  EXPECT_TRUE(has_bit(table.find(1)->ecx, 21));     // x2APIC
}

TEST(GuestCpuid, XsaveAreaShrinksWithItsComponents) {
  auto table = make_guest_cpuid(intel(), {});
  EXPECT_EQ(table.find(0xd, 0)->eax, 0x2e7u);   // x87, SSE, AVX, AVX-512, PKRU
  EXPECT_EQ(table.find(0xd, 0)->ecx, 2696u);    // up to PKRU's end
  EXPECT_EQ(table.find(0xd, 1)->ecx, 0x1800u);  // CET stays, trace and LBR go
  for (std::uint32_t index : {3U, 4U, 18U}) EXPECT_EQ(table.find(0xd, index), nullptr);
  EXPECT_NE(table.find(0xd, 9), nullptr);
}

TEST(GuestCpuid, NestedVirtualizationOnlyOnRequest) {
  EXPECT_TRUE(has_bit(make_guest_cpuid(intel(), {.nested = true}).find(1)->ecx, 5));
  auto table = make_guest_cpuid(amd(), {});
  EXPECT_FALSE(has_bit(table.find(0x80000001)->ecx, 2));
  EXPECT_EQ(table.find(0x8000000a), nullptr);
  auto nested = make_guest_cpuid(amd(), {.nested = true});
  EXPECT_TRUE(has_bit(nested.find(0x80000001)->ecx, 2));
  EXPECT_NE(nested.find(0x8000000a), nullptr);
}

TEST(GuestCpuid, AmdTopology) {
  auto table = make_guest_cpuid(amd(), {.vcpu_id = 3, .vcpu_count = 4});
  EXPECT_EQ(table.find(0x80000008)->ecx, 0x2003u);
  EXPECT_EQ(table.find(0x8000001e)->eax, 3u);
  EXPECT_EQ(table.find(0x8000001e)->ebx, 3u);
  EXPECT_EQ(table.find(0x8000001e)->ecx, 0u);
  EXPECT_TRUE(has_bit(table.find(0x80000001)->ecx, 1));
  EXPECT_FALSE(has_bit(table.find(0x80000001)->ecx, 23));  // performance counters
  EXPECT_EQ(table.find(0x8000001d, 0)->eax, 0x121u);
  EXPECT_EQ(table.find(0x8000001d, 1)->eax, 0xc163u);
  EXPECT_EQ(table.find(0x8000001f), nullptr);
  EXPECT_EQ(table.find(0x80000022), nullptr);
}

TEST(GuestCpuid, IntelKeepsAmdFieldsReserved) {
  auto table = make_guest_cpuid(intel(), {.vcpu_count = 4});
  EXPECT_EQ(table.find(0x80000008)->ecx, 0u);
  EXPECT_FALSE(has_bit(table.find(0x80000001)->ecx, 1));
}

TEST(GuestCpuid, HypervisorLeaves) {
  auto table = make_guest_cpuid(intel(), {.tsc_khz = 2'400'000});
  const CpuidEntry* signature = table.find(0x40000000);
  std::array<std::uint32_t, 3> words{signature->ebx, signature->ecx, signature->edx};
  EXPECT_EQ(std::memcmp(words.data(), "KVMKVMKVM\0\0\0", 12), 0);
  EXPECT_EQ(signature->eax, 0x40000010u);
  EXPECT_EQ(table.find(0x40000010)->eax, 2'400'000u);
  EXPECT_EQ(table.find(0x40000010)->ebx, 1'000'000u);
  EXPECT_EQ(table.find(0x40000001)->eax, 0x01007effu);
}

TEST(GuestCpuid, UnknownFrequencyHasNoLeaf) {
  auto table = make_guest_cpuid(intel(), {});
  EXPECT_EQ(table.find(0x40000000)->eax, 0x40000001u);
  EXPECT_EQ(table.find(0x40000010), nullptr);
}

TEST(GuestCpuid, EmptyTableGainsOnlyTheSignature) {
  auto table = make_guest_cpuid(CpuidTable(), {.vcpu_count = 16});
  ASSERT_EQ(table.entries().size(), 1u);
  EXPECT_EQ(table.entries()[0].function, 0x40000000u);
}

TEST(GuestCpuid, NoFunctionAndIndexTwice) {
  auto system = System::open();
  auto supported = system ? system->supported_cpuid() : Result<CpuidTable>(intel());
  ASSERT_TRUE(supported);
  auto table = make_guest_cpuid(*supported, {.vcpu_count = 4, .tsc_khz = 1'000'000});
  for (const CpuidEntry& entry : table.entries()) {
    EXPECT_EQ(table.find(entry.function, entry.index), &entry) << std::hex << entry.function;
  }
}

}  // namespace
}  // namespace bulkhead::kvm
