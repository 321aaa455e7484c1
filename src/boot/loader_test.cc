// SPDX-License-Identifier: Apache-2.0
#include "boot/loader.h"

#include <gtest/gtest.h>

#include <string>

#include "base/byte_reader.h"
#include "boot/boot_params.h"
#include "boot/image_builder_for_test.h"
#include "mem/guest_memory.h"

namespace bulkhead::boot {
namespace {

class Loader : public ::testing::Test {
 protected:
  Result<Entry> load(const Bytes& kernel, std::string_view command_line = "console=hvc0") {
    kernel_ = make_file(kernel);
    const Result<Loaded> loaded =
        boot::load(*memory_, {.kernel_fd = kernel_.get(),
                              .initrd_fd = initrd_fd_,
                              .command_line = command_line,
                              .cpu_count = 2,
                              .pci_window64 = pci_window64(memory_->size_bytes())});
    if (!loaded) return loaded.error();
    loaded_ = *loaded;
    return loaded->entry;
  }

  template <class T>
  T at(Gpa address) {
    T value;
    CHECK(memory_->read(address, std::as_writable_bytes(std::span(&value, 1))).has_value());
    return value;
  }
  Bytes bytes_at(Gpa address, std::size_t count) {
    Bytes bytes(count);
    CHECK(memory_->read(address, bytes).has_value());
    return bytes;
  }
  std::string text_at(Gpa address) {
    std::string text;
    while (char c = at<char>(address + text.size())) text.push_back(c);
    return text;
  }
  template <class T>
  T boot_param(std::size_t offset) {
    return at<T>(kZeroPageBase + offset);
  }
  void use_memory(std::uint64_t bytes) {
    memory_ = GuestMemory::create({.size_bytes = bytes}).value();
  }
  Bytes use_initrd(std::size_t size) {
    Bytes content(size, std::byte{0x77});
    initrd_ = make_file(content);
    initrd_fd_ = initrd_.get();
    return content;
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create({.size_bytes = 64 * kMiB}).value();
  Fd kernel_;
  Fd initrd_;
  std::optional<int> initrd_fd_;
  Loaded loaded_;
};

TEST_F(Loader, StartsABzImageAtItsLongModeEntry) {
  const Bytes initrd = use_initrd(5000);
  const Bytes kernel = TestBzImage::make(Bytes(3000, std::byte{0xab}));
  const auto entry = std::get<kvm::LongModeEntry>(load(kernel).value());
  EXPECT_EQ(entry.rip, Gpa{TestElf::kLink + 0x200});
  EXPECT_EQ(entry.boot_params, kZeroPageBase);
  EXPECT_EQ(bytes_at(Gpa{TestElf::kLink}, kernel.size() - TestBzImage::kKernel),
            Bytes(kernel.begin() + TestBzImage::kKernel, kernel.end()));

  EXPECT_EQ(boot_param<std::uint16_t>(setup::kBootFlag), 0xaa55);
  EXPECT_EQ(boot_param<std::uint8_t>(setup::kTypeOfLoader), 0xff);
  EXPECT_EQ(boot_param<std::uint8_t>(setup::kLoadFlags),
            1);  // its own decompressor decides on KASLR
  EXPECT_EQ(text_at(Gpa{boot_param<std::uint32_t>(setup::kCmdLinePtr)}), "console=hvc0");
  EXPECT_EQ(boot_param<std::uint64_t>(0x70), kAcpiBase.value());
  EXPECT_EQ(at<std::uint64_t>(kAcpiBase), 0x2052545020445352U);  // "RSD PTR "

  const Gpa initrd_at{boot_param<std::uint32_t>(setup::kRamdiskImage)};
  EXPECT_EQ(boot_param<std::uint32_t>(setup::kRamdiskSize), 5000U);
  EXPECT_EQ(initrd_at, Gpa{64 * kMiB - 8192});
  EXPECT_EQ(bytes_at(initrd_at, initrd.size()), initrd);
}

TEST_F(Loader, TellsTheMemoryMap) {
  ASSERT_TRUE(load(TestBzImage::make(Bytes(16))));
  ASSERT_EQ(boot_param<std::uint8_t>(0x1e8), 4);
  EXPECT_EQ(boot_param<std::uint64_t>(0x2d0), 0U);
  EXPECT_EQ(boot_param<std::uint64_t>(0x2d8), kEbdaBase.value());
  EXPECT_EQ(boot_param<std::uint32_t>(0x2e0), 1U);
  EXPECT_EQ(boot_param<std::uint64_t>(0x2d0 + 40), kMiB);
  EXPECT_EQ(boot_param<std::uint64_t>(0x2d8 + 40), 63 * kMiB);
}

TEST_F(Loader, SeedsTheRandomNumberGenerator) {
  ASSERT_TRUE(load(TestBzImage::make(Bytes(16))));
  const Gpa node{boot_param<std::uint64_t>(setup::kSetupData)};
  EXPECT_EQ(at<std::uint64_t>(node), 0U);
  EXPECT_EQ(at<std::uint32_t>(node + 8), 9U);
  EXPECT_EQ(at<std::uint32_t>(node + 12), 32U);
  const auto seed = at<RngSeed>(node + 16);
  EXPECT_NE(seed, RngSeed{});
  use_memory(64 * kMiB);
  ASSERT_TRUE(load(TestBzImage::make(Bytes(16))));
  EXPECT_NE(at<RngSeed>(node + 16), seed);
}

TEST_F(Loader, MapsTheLowFourGiBOneToOne) {
  const auto entry = std::get<kvm::LongModeEntry>(load(TestBzImage::make(Bytes(16))).value());
  constexpr std::uint64_t kAddress = 0x000ffffffffff000;
  for (std::uint64_t address : {std::uint64_t{0}, 16 * kMiB, 3 * kGiB + 5 * kMiB, 4 * kGiB - 1}) {
    const auto level4 = at<std::uint64_t>(entry.page_table);
    const auto level3 = at<std::uint64_t>(Gpa{level4 & kAddress} + (address >> 30) * 8);
    const auto level2 = at<std::uint64_t>(Gpa{level3 & kAddress} + ((address >> 21) & 511) * 8);
    EXPECT_EQ(level4 & 1, 1U);
    EXPECT_EQ(level3 & 0x81, 1U);
    EXPECT_EQ(level2 & 0x83, 0x83U);  // present, writable, 2 MiB
    EXPECT_EQ(level2 & kAddress, align_down(address, 2 * kMiB));
  }
  EXPECT_EQ(at<std::uint64_t>(entry.gdt + 0x10), kvm::kLongModeGdt[2]);
}

TEST_F(Loader, StartsAnElfFileByPvh) {
  use_initrd(100);
  const Bytes elf = TestElf::make();
  const auto entry = std::get<kvm::ProtectedModeEntry>(load(elf).value());
  EXPECT_EQ(entry.rip, Gpa{TestElf::kPvhEntry});
  const Gpa info = entry.start_info;
  EXPECT_EQ(at<std::uint32_t>(info), 0x336ec578U);
  EXPECT_EQ(at<std::uint32_t>(info + 4), 1U);
  EXPECT_EQ(at<std::uint32_t>(info + 12), 1U);
  const Gpa module{at<std::uint64_t>(info + 16)};
  EXPECT_EQ(at<std::byte>(Gpa{at<std::uint64_t>(module)}), std::byte{0x77});
  EXPECT_EQ(at<std::uint64_t>(module + 8), 100U);
  EXPECT_EQ(text_at(Gpa{at<std::uint64_t>(info + 24)}), "console=hvc0");
  EXPECT_EQ(at<std::uint64_t>(info + 32), kAcpiBase.value());
  const Gpa map{at<std::uint64_t>(info + 40)};
  EXPECT_EQ(at<std::uint32_t>(info + 48), 4U);
  EXPECT_EQ(at<std::uint64_t>(map + 2 * 24), kMiB);
  EXPECT_EQ(at<std::uint32_t>(map + 2 * 24 + 16), 1U);

  EXPECT_EQ(bytes_at(Gpa{TestElf::kLink}, TestElf::kTextBytes),
            Bytes(elf.begin() + TestElf::kText, elf.begin() + TestElf::kData));
  EXPECT_EQ(bytes_at(Gpa{TestElf::kLink + TestElf::kTextMemory}, TestElf::kDataBytes),
            Bytes(elf.begin() + TestElf::kData, elf.end()));
}

TEST_F(Loader, StartsAnUnpackedKernelAtRandom) {
  const TestRelocations relocations{.add64 = {0x100}, .subtract32 = {}, .add32 = {}};
  const Bytes file = make_unpacked(TestElf::make() + relocations.make());
  const auto original = get_le<std::uint64_t>(TestElf::make(), TestElf::kText + 0x100);
  bool moved = false;
  for (int i = 0; i < 20; ++i) {
    use_memory(64 * kMiB);
    const auto entry = std::get<kvm::LongModeEntry>(load(file).value());
    const Gpa base{entry.rip - Gpa{TestElf::kEntry - TestElf::kLink}};
    const std::uint64_t delta = at<std::uint64_t>(base + 0x100) - original;
    EXPECT_EQ(base.value() % (2 * kMiB), 0U);
    EXPECT_EQ(delta % (2 * kMiB), 0U);
    EXPECT_LT(delta, kGiB);
    EXPECT_EQ(boot_param<std::uint8_t>(setup::kLoadFlags), 3);  // KASLR_FLAG
    moved = moved || (base != Gpa{TestElf::kLink} && delta != 0);
  }
  EXPECT_TRUE(moved);
}

TEST_F(Loader, LeavesAnUnpackedKernelInPlaceWhenItMust) {
  const Bytes elf = TestElf::make();
  const Bytes relocations = TestRelocations{.add64 = {0x100}, .subtract32 = {}, .add32 = {}}.make();
  for (int i = 0; i < 10; ++i) {
    use_memory(64 * kMiB);
    const auto entry =
        std::get<kvm::LongModeEntry>(load(make_unpacked(elf + relocations), "nokaslr").value());
    EXPECT_EQ(entry.rip, Gpa{TestElf::kEntry});
    EXPECT_EQ(boot_param<std::uint8_t>(setup::kLoadFlags), 1);
    EXPECT_EQ(bytes_at(Gpa{TestElf::kLink}, TestElf::kTextBytes),
              Bytes(elf.begin() + TestElf::kText, elf.begin() + TestElf::kData));
    use_memory(64 * kMiB);
    const auto without = std::get<kvm::LongModeEntry>(load(make_unpacked(elf)).value());
    EXPECT_EQ(without.rip, Gpa{TestElf::kEntry});
    EXPECT_EQ(boot_param<std::uint8_t>(setup::kLoadFlags), 1);
  }
}

TEST_F(Loader, RefusesAKernelWithHostileRelocations) {
  const Bytes bad = TestRelocations{.add64 = {0x40000000}, .subtract32 = {}, .add32 = {}}.make();
  // The offset may be 0 by chance, and then no relocation is looked at.
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    use_memory(64 * kMiB);
    const auto entry = load(make_unpacked(TestElf::make() + bad));
    if (!entry) ++refused;
  }
  EXPECT_GT(refused, 5);
}

TEST_F(Loader, WritesTheEventLogWhereTheTablesSay) {
  const Bytes log(300, std::byte{0x5a});
  ASSERT_TRUE(write_event_log(*memory_, log));
  EXPECT_EQ(bytes_at(kEventLogBase, log.size()), log);
  EXPECT_EQ(at<std::uint8_t>(kEventLogBase + log.size()), 0);
  const Bytes too_long(kEventLogCapacity + 1);
  EXPECT_EQ(write_event_log(*memory_, too_long).error().code, Errc::kExhausted);
}

TEST_F(Loader, RefusesWhatDoesNotFit) {
  Bytes big = TestBzImage::make(Bytes(16));
  poke(big, setup::kInitSize, std::uint32_t{48 * kMiB});
  EXPECT_TRUE(load(big));  // exactly
  use_memory(64 * kMiB);
  poke(big, setup::kInitSize, std::uint32_t{48 * kMiB + 1});
  EXPECT_EQ(load(big).error().code, Errc::kExhausted);

  Bytes elf = TestElf::make();
  poke(elf, TestElf::program_header(1) + offsetof(Elf64_Phdr, p_paddr), 64 * kMiB);
  EXPECT_EQ(load(elf).error().code, Errc::kExhausted);
  EXPECT_EQ(load(make_unpacked(elf)).error().code, Errc::kExhausted);

  use_initrd(41 * kMiB);
  EXPECT_EQ(load(TestBzImage::make(Bytes(16))).error().code, Errc::kExhausted);
  use_initrd(65 * kMiB);
  EXPECT_EQ(load(TestBzImage::make(Bytes(16))).error().code, Errc::kExhausted);
}

TEST_F(Loader, RefusesBadPlacesAndEntries) {
  Bytes low = TestElf::make();
  poke(low, TestElf::program_header(0) + offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x8000});
  EXPECT_EQ(load(low).error().code, Errc::kMalformed);
  Bytes entry = TestElf::make();
  poke(entry, offsetof(Elf64_Ehdr, e_entry), std::uint64_t{0xffffffff81000000});
  EXPECT_EQ(load(make_unpacked(entry)).error().code, Errc::kMalformed);
}

TEST_F(Loader, RefusesBadCommandLinesAndInitrds) {
  const Bytes kernel = TestBzImage::make(Bytes(16));
  EXPECT_TRUE(load(kernel, std::string(2047, 'x')));
  EXPECT_EQ(load(kernel, std::string(2048, 'x')).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(load(kernel, std::string_view("a\0b", 3)).error().code, Errc::kInvalidArgument);
  use_initrd(0);
  EXPECT_EQ(load(kernel).error().code, Errc::kTruncated);
}

// The initrd stays below the address that the kernel names, and out of the hole below 4 GiB.
TEST_F(Loader, KeepsTheInitrdWhereTheKernelFindsIt) {
  use_memory(4 * kGiB);
  use_initrd(kPageSize);
  ASSERT_TRUE(load(TestBzImage::make(Bytes(16))));
  EXPECT_EQ(boot_param<std::uint32_t>(setup::kRamdiskImage), 2 * kGiB - kPageSize);
  use_memory(4 * kGiB);
  const auto entry = std::get<kvm::ProtectedModeEntry>(load(TestElf::make()).value());
  const Gpa module{at<std::uint64_t>(entry.start_info + 16)};
  EXPECT_EQ(at<std::uint64_t>(module), 3 * kGiB - kPageSize);
}

}  // namespace
}  // namespace bulkhead::boot
