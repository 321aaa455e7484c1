// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory_slots.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <optional>

#include "kvm/entry.h"
#include "kvm/system.h"

namespace bulkhead {
namespace {

constexpr Gpa kCode{0x8000};
constexpr Gpa kCounter{0x200000};
constexpr Gpa kPage{0x300000};
constexpr Gpa kGdt{0x500};
constexpr Gpa kTables{0x10000};

struct Outcomes : OutcomeSink {
  void finish(Outcome outcome) override { last = outcome; }
  std::atomic<Outcome> last = Outcome::kPoweredOff;
};

struct Stores : ProtectedStoreHandler {
  bool on_protected_store(std::uint32_t, const kvm::MmioWrite& store) override {
    last = store.gpa.value();
    ++count;
    return true;
  }
  std::atomic<std::uint64_t> last = 0;
  std::atomic<int> count = 0;
};

// A guest that counts in one page and stores to another, for ever:
//   again: inc qword [0x200000]; mov [0x300010], al; jmp again
class MemorySlotsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto system = kvm::System::open();
    if (!system) GTEST_SKIP() << system.error().what;
    ASSERT_TRUE(kvm::install_kick_signal());
    memory_ =
        GuestMemory::create({.size_bytes = 64 * kMiB, .max_bytes = 64 * kMiB + 2 * kGrowthUnit})
            .value();
    vm_.emplace(system->create_vm().value());
    ASSERT_TRUE(vm_->create_irqchip());
    slots_.emplace(MemorySlots::create(*vm_, *memory_).value());
    write_guest();
    auto vcpu = vm_->create_vcpu(0).value();
    ASSERT_TRUE(vcpu.set_cpuid(make_guest_cpuid(system->supported_cpuid().value(), {})));
    ASSERT_TRUE(kvm::enter(vcpu, kvm::LongModeEntry{.rip = kCode,
                                                    .boot_params = Gpa(0),
                                                    .page_table = kTables,
                                                    .gdt = kGdt,
                                                    .gdt_limit = kvm::kLongModeGdtLimit}));
    std::vector<kvm::Vcpu> vcpus;
    vcpus.push_back(std::move(vcpu));
    group_ = VcpuGroup::create(std::move(vcpus), *dispatcher(), outcomes_).value();
  }

  ExitDispatcher* dispatcher() {
    dispatcher_.emplace(ExitDispatcher::Targets{.ports = ports_,
                                                .mmio = mmio_,
                                                .memory = *memory_,
                                                .outcome = outcomes_,
                                                .protected_stores = handler_});
    return &*dispatcher_;
  }

  void write_guest() {
    constexpr std::uint8_t kLoop[] = {0x48, 0xff, 0x04, 0x25, 0, 0,    0x20, 0,  // inc
                                      0x88, 0x04, 0x25, 0x10, 0, 0x30, 0,        // mov
                                      0xeb, 0xef};                               // jmp
    ASSERT_TRUE(memory_->write(kCode, std::as_bytes(std::span(kLoop))));
    ASSERT_TRUE(memory_->write(kGdt, std::as_bytes(std::span(kvm::kLongModeGdt))));
    ASSERT_TRUE(memory_->store<std::uint64_t>(kTables, (kTables.value() + 0x1000) | 3));
    ASSERT_TRUE(memory_->store<std::uint64_t>(kTables + 0x1000, (kTables.value() + 0x2000) | 3));
    for (std::uint64_t i = 0; i < 512; ++i) {
      ASSERT_TRUE(memory_->store<std::uint64_t>(kTables + 0x2000 + i * 8, i * 2 * kMiB | 0x83));
    }
  }

  std::uint64_t counter() { return memory_->load<std::uint64_t>(kCounter).value(); }

  // Waits, with a bound far above what any machine takes, until the condition holds.
  template <class Condition>
  static bool eventually(Condition&& condition) {
    for (int tries = 0; tries < 20000; ++tries) {
      if (condition()) return true;
      ::usleep(1000);
    }
    return false;
  }

  Outcomes outcomes_;
  Stores stores_;
  ProtectedStoreHandler* handler_ = &stores_;
  Bus ports_{1 << 16};
  Bus mmio_{std::uint64_t{1} << 40};
  std::unique_ptr<GuestMemory> memory_;
  std::optional<kvm::Vm> vm_;
  std::optional<MemorySlots> slots_;
  std::optional<ExitDispatcher> dispatcher_;
  std::unique_ptr<VcpuGroup> group_;
};

TEST_F(MemorySlotsTest, APausedVcpuDoesNotRunAndAResumedOneDoes) {
  group_->run();
  ASSERT_TRUE(eventually([&] { return counter() > 0; }));
  {
    const VcpuPause outer = group_->pause();
    const VcpuPause inner = group_->pause();
    const std::uint64_t before = counter();
    ::usleep(20000);
    EXPECT_EQ(counter(), before);
  }
  const std::uint64_t then = counter();
  EXPECT_TRUE(eventually([&] { return counter() > then; }));
}

TEST_F(MemorySlotsTest, AStoreToAProtectedPageReachesTheHandlerUntilItIsOpenedAgain) {
  group_->run();
  ASSERT_TRUE(eventually([&] { return counter() > 0; }));
  EXPECT_EQ(stores_.count, 0);  // the control: nothing is protected yet
  {
    const VcpuPause pause = group_->pause();
    ASSERT_TRUE(slots_->protect(pause, kPage, kPageSize, SlotAccess::kReadOnly));
    EXPECT_EQ(slots_->slots().size(), 3U);
    EXPECT_EQ(slots_->access(kPage + 0xfff), SlotAccess::kReadOnly);
    EXPECT_EQ(slots_->access(kPage + 0x1000), SlotAccess::kReadWrite);
  }
  ASSERT_TRUE(eventually([&] { return stores_.count > 2; }));
  EXPECT_EQ(stores_.last, (kPage + 0x10).value());
  int seen = 0;
  {
    const VcpuPause pause = group_->pause();
    ASSERT_TRUE(slots_->protect(pause, kPage, kPageSize, SlotAccess::kReadWrite));
    EXPECT_EQ(slots_->slots().size(), 1U);  // joined again
    seen = stores_.count;
  }
  const std::uint64_t then = counter();
  ASSERT_TRUE(eventually([&] { return counter() > then + 1000; }));
  EXPECT_EQ(stores_.count, seen);
}

TEST_F(MemorySlotsTest, RefusesWhatIsNotWholePagesOfRam) {
  const VcpuPause pause = group_->pause();
  EXPECT_FALSE(slots_->protect(pause, Gpa(0x1001), kPageSize, SlotAccess::kReadOnly));
  EXPECT_FALSE(slots_->protect(pause, kPage, 0, SlotAccess::kReadOnly));
  EXPECT_FALSE(slots_->protect(pause, Gpa(64 * kMiB), kPageSize, SlotAccess::kReadOnly));
  EXPECT_FALSE(slots_->protect(pause, kPage, ~std::uint64_t{0} - 0xfff, SlotAccess::kReadOnly));
  EXPECT_EQ(slots_->slots().size(), 1U);
}

// The third page directory shows the guest the first unit at 1 GiB, where its stores then go.
TEST_F(MemorySlotsTest, TheGuestReachesAUnitWhileItIsThere) {
  const MemoryRegion region = memory_->grow(0).value();
  constexpr std::uint8_t kStoreThere[] = {0x88, 0x04, 0x25, 0x10, 0, 0, 0x40, 0xeb, 0xf7};
  ASSERT_TRUE(memory_->write(kCode, std::as_bytes(std::span(kStoreThere))));
  ASSERT_TRUE(memory_->store<std::uint64_t>(kTables + 0x1008, (kTables.value() + 0x3000) | 3));
  ASSERT_TRUE(memory_->store<std::uint64_t>(kTables + 0x3000, region.base.value() | 0x83));
  const Gpa there = region.base + 0x10;
  ASSERT_TRUE(memory_->store<std::uint8_t>(there, 0xff));  // the guest's AL is 0
  const auto is_written = [&] { return memory_->load<std::uint8_t>(there).value_or(0xff) == 0; };
  {
    const VcpuPause pause = group_->pause();
    EXPECT_EQ(slots_->access(there), SlotAccess::kAbsent);
    EXPECT_FALSE(slots_->protect(pause, region.base, kPageSize, SlotAccess::kReadOnly));
    ASSERT_TRUE(slots_->add(region));
    EXPECT_EQ(slots_->add(region).error().code, Errc::kExists);
    EXPECT_EQ(slots_->access(there), SlotAccess::kReadWrite);
  }
  group_->run();
  ASSERT_TRUE(eventually(is_written));
  EXPECT_EQ(stores_.count, 0);
  {
    const VcpuPause pause = group_->pause();
    ASSERT_TRUE(slots_->remove(region));
    EXPECT_EQ(slots_->remove(region).error().code, Errc::kNotFound);
    ASSERT_TRUE(memory_->shrink(0));
  }
  // Without a slot the stores exit as MMIO, to nobody: they reach no memory that went back.
  const auto mmio_exits = [&] {
    constexpr std::size_t kMmioWrite = kvm::Exit(kvm::MmioWrite{}).index();
    return group_->exit_counts()[kMmioWrite];
  };
  ASSERT_TRUE(eventually([&] { return mmio_exits() > 2; }));
  const VcpuPause pause = group_->pause();
  ASSERT_TRUE(memory_->grow(0));
  EXPECT_EQ(memory_->load<std::uint8_t>(there).value(), 0);
  ASSERT_TRUE(memory_->store<std::uint8_t>(there, 0xff));
  ASSERT_TRUE(slots_->add(region));
}

TEST_F(MemorySlotsTest, ProtectionAndUnitsDoNotDisturbEachOther) {
  const VcpuPause pause = group_->pause();
  ASSERT_TRUE(slots_->protect(pause, kPage, kPageSize, SlotAccess::kReadOnly));
  const MemoryRegion second = memory_->grow(1).value();
  const MemoryRegion first = memory_->grow(0).value();
  ASSERT_TRUE(slots_->add(second));
  ASSERT_TRUE(slots_->add(first));
  EXPECT_EQ(slots_->slots().size(), 5U) << "units stay slots of their own";
  EXPECT_EQ(slots_->access(kPage), SlotAccess::kReadOnly);
  // One range over the edge between two units.
  const Gpa edge(second.base.value() - kPageSize);
  ASSERT_TRUE(slots_->protect(pause, edge, 2 * kPageSize, SlotAccess::kReadOnly));
  EXPECT_EQ(slots_->slots().size(), 7U);
  EXPECT_EQ(slots_->access(edge), SlotAccess::kReadOnly);
  EXPECT_EQ(slots_->access(second.base), SlotAccess::kReadOnly);
  EXPECT_EQ(slots_->access(second.base + kPageSize), SlotAccess::kReadWrite);
  EXPECT_FALSE(slots_->protect(pause, edge, 2 * kGrowthUnit, SlotAccess::kReadOnly));
  ASSERT_TRUE(slots_->remove(second));
  EXPECT_EQ(slots_->slots().size(), 5U);
  EXPECT_FALSE(slots_->protect(pause, edge, 2 * kPageSize, SlotAccess::kReadWrite));
  ASSERT_TRUE(slots_->protect(pause, edge, kPageSize, SlotAccess::kReadWrite));
  ASSERT_TRUE(slots_->add(second));
  EXPECT_EQ(slots_->access(second.base), SlotAccess::kReadWrite) << "forgotten with the unit";
  ASSERT_TRUE(slots_->remove(first));
  ASSERT_TRUE(slots_->remove(second));
  ASSERT_TRUE(slots_->protect(pause, kPage, kPageSize, SlotAccess::kReadWrite));
  EXPECT_EQ(slots_->slots().size(), 1U);
  for (const MemoryRegion& boot : memory_->regions()) {
    MemoryRegion overlapping = boot;
    overlapping.base = boot.base + kPageSize;
    EXPECT_EQ(slots_->add(overlapping).error().code, Errc::kExists);
  }
}

TEST_F(MemorySlotsTest, LogsWhatTheGuestWrites) {
  {
    const VcpuPause pause = group_->pause();
    ASSERT_TRUE(slots_->set_dirty_logging(pause, true));
  }
  group_->run();
  ASSERT_TRUE(eventually([&] { return counter() > 0; }));
  const VcpuPause pause = group_->pause();
  std::vector<std::uint64_t> bitmap(64 * kMiB / kPageSize / 64);
  ASSERT_TRUE(vm_->dirty_log(slots_->slots()[0].id, bitmap));
  auto dirty = [&](Gpa address) {
    const std::uint64_t page = address.value() / kPageSize;
    return (bitmap[page / 64] >> (page % 64) & 1) != 0;
  };
  EXPECT_TRUE(dirty(kCounter));
  EXPECT_TRUE(dirty(kPage));
  EXPECT_FALSE(dirty(kPage + kPageSize));
}

TEST_F(MemorySlotsTest, TheWatchdogKicksAVcpuThatNeverExits) {
  group_->run();
  ASSERT_TRUE(eventually([&] { return counter() > 0; }));
  const auto interruptions = [&] {
    constexpr std::size_t kInterrupted = kvm::Exit(kvm::Interrupted{}).index();
    return group_->exit_counts()[kInterrupted];
  };
  const std::uint64_t before = interruptions();
  ASSERT_TRUE(eventually([&] {
    group_->kick_idle_and_stuck();
    return interruptions() > before;
  }));
}

class UnguardedTest : public MemorySlotsTest {
 protected:
  UnguardedTest() { handler_ = nullptr; }
};

TEST_F(UnguardedTest, AStoreToAProtectedPageEndsThePartition) {
  {
    const VcpuPause pause = group_->pause();
    ASSERT_TRUE(slots_->protect(pause, kPage, kPageSize, SlotAccess::kReadOnly));
  }
  group_->run();
  EXPECT_TRUE(eventually([&] { return outcomes_.last == Outcome::kViolation; }));
}

}  // namespace
}  // namespace bulkhead
