// SPDX-License-Identifier: Apache-2.0
// Guest RAM made of several extents, and RAM that comes and goes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "mem/dma_space.h"
#include "mem/fake_host_for_test.h"
#include "mem/guest_memory.h"
#include "mem/private_frames.h"

namespace bulkhead {
namespace {

constexpr std::uint64_t kBoot = 64 * kMiB;
constexpr std::uint64_t kMax = kBoot + 3 * kGrowthUnit;
constexpr Gpa kUnit0{4 * kGiB};

// Whether this process maps the file.
bool is_mapped(const Fd& file) {
  struct stat status{};
  EXPECT_EQ(::fstat(file.get(), &status), 0);
  const std::string inode = " " + std::to_string(status.st_ino) + " ";
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(inode) != std::string::npos) return true;
  }
  return false;
}

// A source of extents of any size that the test wants, which watches what comes back.
class FakeSource final : public FrameSource {
 public:
  explicit FakeSource(std::uint64_t frames_at_once = ~std::uint64_t{0})
      : frames_at_once_(frames_at_once) {}
  ~FakeSource() override { EXPECT_TRUE(out_.empty()) << "extents that never came back"; }

  Result<Extent> take(std::uint64_t frames) override {
    if (left_ == 0) return Error{Errc::kExhausted, 0, "no frames left"};
    --left_;
    Extent extent = TRY(frames_->take(std::min(frames, frames_at_once_)));
    out_[extent.first.value()] = extent.file.duplicate().value();
    if (spoil) spoil(extent);
    return extent;
  }
  void give_back(Extent extent) override {
    const auto taken = out_.find(extent.first.value());
    ASSERT_NE(taken, out_.end());
    EXPECT_FALSE(is_mapped(taken->second)) << "given back while it is mapped";
    out_.erase(taken);
    ++returned;
  }
  bool covers_host() const override { return false; }

  void limit(int extents) { left_ = extents; }
  std::size_t out() const { return out_.size(); }
  const Fd& file(std::uint64_t first) const { return out_.at(first); }

  std::function<void(Extent&)> spoil;
  int returned = 0;

 private:
  std::uint64_t frames_at_once_;
  int left_ = 1 << 20;
  std::unique_ptr<PrivateFrames> frames_ = PrivateFrames::create(Backing::kMemfd).value();
  std::map<std::uint64_t, Fd> out_;
};

Gpa below(Gpa address, std::uint64_t bytes) {
  return Gpa(address.value() - bytes);
}

std::unique_ptr<GuestMemory> growing(FrameSource& source, std::uint64_t max = kMax) {
  return GuestMemory::create({.size_bytes = kBoot, .max_bytes = max}, source).value();
}

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 13 + 5);
  return bytes;
}

std::vector<std::byte> read(const GuestMemory& memory, Gpa from, std::size_t size) {
  std::vector<std::byte> bytes(size);
  EXPECT_TRUE(memory.read(from, bytes));
  return bytes;
}

TEST(RamLayout, GrowthLiesAboveBootRam) {
  constexpr RamLayout kSmall = RamLayout::of(64 * kMiB, 64 * kMiB + 300 * kMiB);
  EXPECT_EQ(kSmall.growth_base, Gpa(4 * kGiB));
  EXPECT_EQ(kSmall.units, 2u) << "whole units only";
  EXPECT_EQ(kSmall.end(), Gpa(4 * kGiB + 256 * kMiB));
  EXPECT_EQ(kSmall.unit_offset(1), 64 * kMiB + 128 * kMiB);
  constexpr RamLayout kLarge = RamLayout::of(3 * kGiB + 130 * kMiB, 5 * kGiB);
  EXPECT_EQ(kLarge.boot_end(), Gpa(4 * kGiB + 130 * kMiB));
  EXPECT_EQ(kLarge.growth_base, Gpa(4 * kGiB + 256 * kMiB));
  EXPECT_EQ(kLarge.unit_base(1), Gpa(4 * kGiB + 384 * kMiB));
  for (const std::uint64_t max : {std::uint64_t{0}, 64 * kMiB, 64 * kMiB + kGrowthUnit - 1}) {
    EXPECT_EQ(RamLayout::of(64 * kMiB, max).units, 0u) << max;
    EXPECT_EQ(RamLayout::of(64 * kMiB, max).end(), Gpa(64 * kMiB)) << max;
  }
}

TEST(GuestMemoryExtents, AreOneRangeToWhoeverCrossesThem) {
  FakeSource source(2);  // 4 MiB each
  auto memory = growing(source);
  EXPECT_EQ(source.out(), 16u);
  EXPECT_EQ(memory->pieces().size(), 16u);
  const auto bytes = pattern(9 * kMiB);  // over three of them
  ASSERT_TRUE(memory->write(Gpa(3 * kMiB), bytes));
  EXPECT_EQ(read(*memory, Gpa(3 * kMiB), bytes.size()), bytes);
  ASSERT_TRUE(memory->zero(Gpa(4 * kMiB - 1), 2));
  EXPECT_EQ(read(*memory, Gpa(4 * kMiB - 1), 2), std::vector<std::byte>(2));
  for (const RamPiece& piece : memory->pieces()) {
    std::byte in_file{};
    ASSERT_EQ(::pread(piece.file, &in_file, 1, static_cast<off_t>(piece.file_offset + 7)), 1);
    EXPECT_EQ(in_file, read(*memory, Gpa(piece.ram_offset + 7), 1)[0]);
    EXPECT_EQ(piece.host.value() - memory->regions()[0].host.value(), piece.ram_offset);
  }
}

TEST(GuestMemoryExtents, AreDiscardedAndLoggedAcrossTheirEdges) {
  FakeSource source(2);
  auto memory = growing(source);
  const auto bytes = pattern(16 * kMiB);
  ASSERT_TRUE(memory->write(Gpa(0), bytes));
  memory->start_dirty_log();
  ASSERT_TRUE(memory->discard(Gpa(4 * kMiB - kPageSize), 4 * kMiB + 2 * kPageSize));
  EXPECT_EQ(read(*memory, Gpa(4 * kMiB - kPageSize - 1), 1)[0], bytes[4 * kMiB - kPageSize - 1]);
  EXPECT_EQ(read(*memory, Gpa(4 * kMiB - kPageSize), 4 * kMiB + 2 * kPageSize),
            std::vector<std::byte>(4 * kMiB + 2 * kPageSize));
  EXPECT_EQ(read(*memory, Gpa(8 * kMiB + kPageSize), 1)[0], bytes[8 * kMiB + kPageSize]);
  auto log = memory->take_dirty_log(memory->regions()[0]);
  EXPECT_EQ(log[4 * kMiB / kPageSize / 64 - 1], std::uint64_t{1} << 63);
  EXPECT_EQ(log[8 * kMiB / kPageSize / 64], 1u);
  ASSERT_TRUE(memory->write(Gpa(12 * kMiB - 1), pattern(2)));
  log = memory->take_dirty_log(memory->regions()[0]);
  EXPECT_EQ(log[12 * kMiB / kPageSize / 64 - 1], std::uint64_t{1} << 63);
  EXPECT_EQ(log[12 * kMiB / kPageSize / 64], 1u);
}

// The kernel's abbreviations of a mapping's properties (VmFlags), by the mapping's first address.
std::map<std::uint64_t, std::string> mappings() {
  std::map<std::uint64_t, std::string> found;
  std::uint64_t start = 0;
  std::ifstream smaps("/proc/self/smaps");
  for (std::string line; std::getline(smaps, line);) {
    if (line.starts_with("VmFlags:")) {
      found[start] = line.substr(8) + " ";
    } else if (line.find('-') < line.find(' ')) {
      start = std::stoull(line, nullptr, 16);
    }
  }
  return found;
}

TEST(GuestMemoryExtents, AreEachInNoCoreFileAndNotInherited) {
  FakeSource source(8);
  auto memory =
      GuestMemory::create({.size_bytes = kBoot, .lock = true, .max_bytes = kMax}, source).value();
  ASSERT_TRUE(memory->grow(0));
  ASSERT_TRUE(memory->shrink(0));  // what took its place counts, too
  ASSERT_TRUE(memory->grow(1));
  const std::uint64_t host = memory->regions()[0].host.value();
  int extents = 0;
  bool control = false;
  for (const auto& [start, flags] : mappings()) {
    const bool ours = start >= host && start < host + memory->layout().size_bytes();
    const auto has = [&](std::string_view flag) { return flags.find(flag) != std::string::npos; };
    if (!ours) control = control || (has(" wr ") && !has(" dd ") && !has(" dc "));
    if (!ours || !has(" rd ")) continue;
    ++extents;
    EXPECT_TRUE(has(" dd ") && has(" dc ") && !has(" mg ")) << flags;
    if (memory->locked() && has(" sh ")) {
      EXPECT_TRUE(has(" lo ")) << flags;
    }
  }
  EXPECT_EQ(extents, 4 + 1 + 8) << "boot RAM, the place of unit 0, unit 1";
  EXPECT_TRUE(control) << "an ordinary mapping has neither";
}

TEST(GuestMemoryExtents, GoBackWhenTheRestDoesNotCome) {
  FakeSource source(2);
  source.limit(7);
  EXPECT_EQ(GuestMemory::create({.size_bytes = kBoot}, source).error().code, Errc::kExhausted);
  EXPECT_EQ(source.returned, 7);
  source.limit(16 + 30);
  auto memory = growing(source);
  EXPECT_EQ(memory->grow(0).error().code, Errc::kExhausted);
  EXPECT_EQ(source.returned, 7 + 30);
  EXPECT_FALSE(memory->has_unit(0));
  source.limit(64);
  EXPECT_TRUE(memory->grow(0)) << "another time";
}

TEST(GuestMemoryExtents, OfAWrongFormAreRefused) {
  FakeSource source;
  auto memory = growing(source);
  source.spoil = [](Extent& extent) { extent.frames = 65; };
  EXPECT_EQ(memory->grow(0).error().code, Errc::kInvalidArgument);
  source.spoil = [](Extent& extent) { extent.frames = 0; };
  EXPECT_EQ(memory->grow(0).error().code, Errc::kInvalidArgument);
  source.spoil = [](Extent& extent) { extent.file_offset = 4096; };
  EXPECT_EQ(memory->grow(0).error().code, Errc::kInvalidArgument);
  source.spoil = [](Extent& extent) { extent.file.reset(); };
  EXPECT_FALSE(memory->grow(0));
  EXPECT_EQ(source.returned, 4);
  source.spoil = nullptr;
  EXPECT_TRUE(memory->grow(0)) << "the control";
}

TEST(GuestMemoryGrowth, UnitsComeAndGo) {
  FakeSource source;
  auto memory = growing(source);
  EXPECT_EQ(memory->layout().units, 3u);
  EXPECT_FALSE(memory->contains(kUnit0, 1));
  EXPECT_FALSE(memory->write(kUnit0, pattern(1)));
  const MemoryRegion region = memory->grow(0).value();
  EXPECT_EQ(region.base, kUnit0);
  EXPECT_EQ(region.size_bytes, kGrowthUnit);
  EXPECT_EQ(region.ram_offset, kBoot);
  EXPECT_EQ(region.host.value(), memory->regions()[0].host.value() + kBoot);
  EXPECT_TRUE(memory->has_unit(0));
  EXPECT_TRUE(memory->contains(kUnit0, kGrowthUnit));
  EXPECT_FALSE(memory->contains(kUnit0, kGrowthUnit + 1));
  EXPECT_EQ(read(*memory, kUnit0 + 5, 64), std::vector<std::byte>(64));
  EXPECT_EQ(memory->grow(0).error().code, Errc::kExists);
  ASSERT_TRUE(memory->write(kUnit0 + (kGrowthUnit - 8), pattern(8)));

  EXPECT_EQ(memory->shrink(0).value().base, kUnit0);
  EXPECT_EQ(source.returned, 1);
  EXPECT_FALSE(memory->has_unit(0));
  EXPECT_FALSE(memory->contains(kUnit0, 1));
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(memory->read(kUnit0, bytes).error().code, Errc::kOutOfRange);
  EXPECT_FALSE(memory->load<std::uint64_t>(kUnit0));
  EXPECT_FALSE(memory->store<std::uint64_t>(kUnit0, 1));
  EXPECT_FALSE(memory->zero(kUnit0, 1));
  EXPECT_FALSE(memory->discard(kUnit0, kPageSize));
  EXPECT_EQ(memory->populate_huge(kUnit0, kGrowthUnit), 0u);
  EXPECT_EQ(memory->shrink(0).error().code, Errc::kExists);
  ASSERT_TRUE(memory->grow(0));
  EXPECT_EQ(read(*memory, kUnit0 + (kGrowthUnit - 8), 8), std::vector<std::byte>(8));
  for (const std::size_t unit : {std::size_t{3}, ~std::size_t{0}}) {
    EXPECT_EQ(memory->grow(unit).error().code, Errc::kOutOfRange);
    EXPECT_EQ(memory->shrink(unit).error().code, Errc::kOutOfRange);
    EXPECT_FALSE(memory->has_unit(unit));
  }
}

TEST(GuestMemoryGrowth, AHoleBetweenUnitsIsNoRam) {
  FakeSource source;
  auto memory = growing(source);
  ASSERT_TRUE(memory->grow(2));
  ASSERT_TRUE(memory->grow(0));
  const Gpa unit1 = kUnit0 + kGrowthUnit;
  EXPECT_FALSE(memory->contains(unit1, 1));
  EXPECT_FALSE(memory->contains(kUnit0, 3 * kGrowthUnit));
  EXPECT_FALSE(memory->write(unit1 + (kGrowthUnit - 1), pattern(2)));
  EXPECT_FALSE(memory->contains(kUnit0, ~std::uint64_t{0}));
  EXPECT_FALSE(memory->contains(kUnit0 + 3 * kGrowthUnit, 1));
  ASSERT_TRUE(memory->grow(1));
  EXPECT_TRUE(memory->contains(kUnit0, 3 * kGrowthUnit));
  ASSERT_TRUE(memory->write(below(unit1, 100), pattern(200)));
  EXPECT_EQ(read(*memory, below(unit1, 100), 200), pattern(200));
  std::vector<std::uint64_t> offsets;
  for (const RamPiece& piece : memory->pieces()) offsets.push_back(piece.ram_offset);
  EXPECT_TRUE(std::ranges::is_sorted(offsets));
}

TEST(GuestMemoryGrowth, JoinsBootRamThatItTouches) {
  constexpr std::uint64_t kSize = 3 * kGiB + kGrowthUnit;  // sparse
  auto memory =
      GuestMemory::create({.size_bytes = kSize, .max_bytes = kSize + kGrowthUnit}).value();
  const Gpa edge = memory->layout().growth_base;
  ASSERT_EQ(edge, memory->layout().boot_end());
  EXPECT_FALSE(memory->contains(below(edge, 64), 128));
  ASSERT_TRUE(memory->grow(0));
  EXPECT_TRUE(memory->contains(below(edge, 64), 128));
  EXPECT_FALSE(memory->contains(below(edge, 64), 128 + kGrowthUnit));
  EXPECT_FALSE(memory->contains(Gpa(3 * kGiB - 1), 2)) << "there is a hole";
  EXPECT_FALSE(memory->contains(Gpa(3 * kGiB - 1), kGiB + kGrowthUnit + 2));
  const auto bytes = pattern(128);
  ASSERT_TRUE(memory->write(below(edge, 64), bytes));
  EXPECT_EQ(read(*memory, below(edge, 64), 128), bytes);
  EXPECT_EQ(read(*memory, edge, 1)[0], bytes[64]);
}

TEST(GuestMemoryGrowth, DevicesReachAcrossEdges) {
  FakeSource source(8);
  auto memory = growing(source);
  ASSERT_TRUE(memory->grow(0));
  ASSERT_TRUE(memory->grow(1));
  const DmaSpace space(*memory);
  const DmaSegment segments[] = {{DmaAddr(16 * kMiB - 100), 200},  // two extents of boot RAM
                                 {DmaAddr(kUnit0.value() + kGrowthUnit - 300), 600}};  // two units
  const Fd file(::memfd_create("test", MFD_CLOEXEC));
  const auto bytes = pattern(800);
  ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0), 800);
  DmaWriter writer(space, segments);
  EXPECT_EQ(writer.read_from(file.get(), 800).value(), 800u);
  std::vector<std::byte> got(800);
  ASSERT_TRUE(DmaReader(space, segments).read(got));
  EXPECT_EQ(got, bytes);
  ASSERT_TRUE(memory->shrink(1));
  EXPECT_TRUE(space.reachable(segments[0], DmaAccess::kWrite));
  EXPECT_FALSE(space.reachable(segments[1], DmaAccess::kWrite));
  EXPECT_FALSE(DmaWriter(space, segments).read_from(file.get(), 800));
}

// The kernel waits inside of a read(2) for bytes that go to a unit, when the unit goes. Without
// anything in the unit's place the bytes would be lost with EFAULT; in it, they hurt nobody.
TEST(GuestMemoryGrowth, WhatComesLateForAUnitHurtsNobody) {
  FakeSource source;
  auto memory = growing(source);
  ASSERT_TRUE(memory->grow(0));
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  const Fd writing(ends[1]);
  const DmaSpace space(*memory);
  const DmaSegment segment{DmaAddr(kUnit0.value()), 64};
  std::atomic<pid_t> reader = 0;
  Result<std::size_t> got = std::size_t{0};
  std::thread device([&] {
    DmaWriter writer(space, {&segment, 1});
    reader = ::gettid();
    got = writer.read_from(reading.get(), 64);
  });
  // "TID (NAME) STATE": it sleeps nowhere but in the read.
  const auto is_waiting = [&] {
    std::string stat;
    std::getline(std::ifstream("/proc/self/task/" + std::to_string(reader) + "/stat"), stat);
    return stat.find(") S") != std::string::npos;
  };
  while (!is_waiting()) ::usleep(1000);
  const Fd frames = source.file(32).duplicate().value();
  ASSERT_TRUE(memory->shrink(0));
  const auto secret = pattern(64);
  ASSERT_EQ(::write(writing.get(), secret.data(), secret.size()), 64);
  device.join();
  EXPECT_EQ(got.value(), 64u);
  std::array<std::byte, 64> in_file{};
  ASSERT_EQ(::pread(frames.get(), in_file.data(), in_file.size(), 0), 64);
  EXPECT_EQ(in_file, (std::array<std::byte, 64>{})) << "in frames that went back";
  ASSERT_TRUE(memory->grow(0));
  EXPECT_EQ(read(*memory, kUnit0, 64), std::vector<std::byte>(64)) << "in the next unit there";
}

// Readers see a unit as it is or an error, whatever happens to it at the same time.
TEST(GuestMemoryGrowth, ReadersNeedNoLock) {
  auto memory = GuestMemory::create({.size_bytes = kBoot, .max_bytes = kMax}).value();
  const DmaSpace space(*memory);
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<std::uint64_t> refusals = 0;
  std::vector<std::thread> readers;
  for (int thread = 0; thread < 3; ++thread) {
    readers.emplace_back([&] {
      std::vector<std::byte> bulk(kFrameSize);  // long enough for the unit to go meanwhile
      while (!stop) {
        for (std::size_t unit = 0; unit < 3; ++unit) {
          const Gpa at = memory->layout().unit_base(unit) + 4096;
          const Result<std::uint64_t> value = memory->load<std::uint64_t>(at);
          ++(value ? reads : refusals);
          if (value) {
            EXPECT_TRUE(*value == 0 || *value == unit + 1) << *value;
          }
          static_cast<void>(memory->read(at + kPageSize, bulk).has_value());
          static_cast<void>(memory->contains(at, 2 * kGrowthUnit));
          static_cast<void>(space.reachable({DmaAddr(at.value()), 4096}, DmaAccess::kRead));
        }
      }
    });
  }
  for (std::size_t round = 0; round < 1000 || reads == 0 || refusals == 0; ++round) {
    const std::size_t unit = round % 3;
    ASSERT_TRUE(memory->grow(unit));
    ASSERT_TRUE(memory->store<std::uint64_t>(memory->layout().unit_base(unit) + 4096, unit + 1));
    ASSERT_TRUE(memory->shrink(unit));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

// What has never been a unit stays a guard.
TEST(GuestMemoryGrowthDeathTest, AddressSpaceWithoutAUnitFaults) {
  FakeSource source;
  auto memory = growing(source);
  const MemoryRegion region = memory->grow(0).value();
  const std::uintptr_t absent = region.host.value() + kGrowthUnit;
  EXPECT_DEATH(static_cast<void>(__atomic_load_n(reinterpret_cast<char*>(absent), 0)), "");
}

TEST(GuestMemoryGrowth, TheDirtyLogCoversUnits) {
  FakeSource source;
  auto memory = growing(source);
  const MemoryRegion early = memory->grow(0).value();
  memory->start_dirty_log();
  const MemoryRegion late = memory->grow(2).value();
  ASSERT_TRUE(memory->write(kUnit0 + 64 * kPageSize, pattern(1)));
  auto log = memory->take_dirty_log(early);
  EXPECT_EQ(log.size(), kGrowthUnit / kPageSize / 64);
  EXPECT_EQ(log[0], 0u);
  EXPECT_EQ(log[1], 1u);
  log = memory->take_dirty_log(late);
  EXPECT_TRUE(std::ranges::all_of(log, [](std::uint64_t word) { return word == ~0ULL; }))
      << "all of it is new";
  ASSERT_TRUE(memory->shrink(2));
  ASSERT_FALSE(memory->write(late.base, pattern(1)));
  log = memory->take_dirty_log(late);
  EXPECT_TRUE(std::ranges::all_of(log, [](std::uint64_t word) { return word == 0; }));
}

TEST(GuestMemoryGrowth, RefusesSizesThatItCannotHave) {
  for (const std::uint64_t max : {kBoot - 2 * kMiB, std::uint64_t{1}, 1025 * kGiB}) {
    EXPECT_EQ(GuestMemory::create({.size_bytes = kBoot, .max_bytes = max}).error().code,
              Errc::kInvalidArgument);
  }
  EXPECT_TRUE(GuestMemory::create({.size_bytes = kBoot, .max_bytes = 1024 * kGiB}));
}

bool has_open(const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) == path) return true;
  }
  return false;
}

TEST(GuestMemoryCarved, IsMappedOverwrittenAndOutOfReachOtherwise) {
  FakeHost host;
  const std::string device = host.device();
  const auto source = PrivateFrames::create_carved(host.range(), device.c_str());
  EXPECT_EQ(GuestMemory::create({.size_bytes = 64 * kMiB, .max_bytes = kMax}, *source).error().code,
            Errc::kUnsupported);
  auto memory = GuestMemory::create({.size_bytes = 64 * kMiB}, *source).value();
  EXPECT_EQ(memory->backing(), Backing::kCarved);
  EXPECT_FALSE(has_open(device)) << "the descriptor reaches other partitions' memory";
  EXPECT_EQ(memory->pieces()[0].file, -1);
  const Fd physical = Fd::open(device.c_str(), O_RDONLY).value();
  EXPECT_TRUE(has_open(device)) << "the control";
  const auto at = [&](std::uint64_t address) {
    std::byte byte{0xff};
    EXPECT_EQ(::pread(physical.get(), &byte, 1, static_cast<off_t>(address)), 1);
    return byte;
  };
  ASSERT_TRUE(memory->write(Gpa(5 * kMiB), pattern(2 * kPageSize)));
  EXPECT_EQ(at(FakeHost::kBase + 5 * kMiB), pattern(1)[0]);
  ASSERT_TRUE(memory->discard(Gpa(5 * kMiB), kPageSize));
  EXPECT_EQ(at(FakeHost::kBase + 5 * kMiB), std::byte{0}) << "reads as zero, as elsewhere";
  EXPECT_NE(at(FakeHost::kBase + 5 * kMiB + kPageSize + 1), std::byte{0});
  EXPECT_EQ(memory->populate_huge(Gpa(0), 64 * kMiB), 0u);
  memory.reset();
  EXPECT_EQ(at(FakeHost::kBase + 5 * kMiB + kPageSize + 1), std::byte{0})
      << "overwritten at the end";
  EXPECT_EQ(at(FakeHost::kBase - 1), std::byte{0xee});
  EXPECT_EQ(at(FakeHost::kBase + FakeHost::kSize), std::byte{0xee});
}

}  // namespace
}  // namespace bulkhead
