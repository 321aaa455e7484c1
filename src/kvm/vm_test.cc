// SPDX-License-Identifier: Apache-2.0
#include "kvm/vm.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "kvm/tiny_guest.h"

namespace bulkhead::kvm {
namespace {

class VmTest : public testing::Test {
 protected:
  void SetUp() override {
    guest_ = TinyGuest::create(true);
    if (guest_ == nullptr) GTEST_SKIP() << "no /dev/kvm";
  }

  Vm& vm() { return guest_->vm; }

  std::unique_ptr<TinyGuest> guest_;
};

TEST(System, SaysWhatIsMissing) {
  auto absent = System::open("/nonexistent/kvm");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, Errc::kNotFound);
  EXPECT_NE(std::string(absent.error().what).find("kvm_intel"), std::string::npos);
  auto other = System::open("/dev/null");
  ASSERT_FALSE(other);
  EXPECT_STREQ(other.error().what, "the descriptor is not /dev/kvm");
}

TEST_F(VmTest, SlotsAreCheckedAndRecreated) {
  MemorySlot slot{.id = 3,
                  .base = Gpa(0x1000000),
                  .size_bytes = kPageSize,
                  .host = guest_->host(Gpa(0x100000))};
  auto bad = slot;
  bad.size_bytes = 100;
  EXPECT_FALSE(vm().set_slot(bad));
  bad = slot;
  bad.size_bytes = 0;
  EXPECT_FALSE(vm().set_slot(bad));
  bad = slot;
  bad.base = Gpa(0) + ~(kPageSize - 1);
  bad.size_bytes = 2 * kPageSize;
  EXPECT_FALSE(vm().set_slot(bad));
  bad = slot;
  bad.base = Gpa(0x1000);  // overlaps the RAM
  EXPECT_EQ(vm().set_slot(bad).error().code, Errc::kExists);

  ASSERT_TRUE(vm().set_slot(slot));
  EXPECT_EQ(vm().set_slot(slot).error().code, Errc::kExists);
  ASSERT_TRUE(vm().delete_slot(3));
  EXPECT_EQ(vm().delete_slot(3).error().code, Errc::kNotFound);
  slot.read_only = true;
  EXPECT_TRUE(vm().set_slot(slot));
}

TEST_F(VmTest, DirtyLogFitsOrIsRefused) {
  ASSERT_TRUE(vm().set_slot({.id = 1,
                             .base = Gpa(0x1000000),
                             .size_bytes = 65 * kPageSize,
                             .host = guest_->host(Gpa(0x100000)),
                             .log_dirty = true}));
  std::array<std::uint64_t, 2> bitmap{};
  EXPECT_EQ(vm().dirty_log(1, std::span(bitmap).first(1)).error().code, Errc::kOutOfRange);
  EXPECT_EQ(vm().dirty_log(9, bitmap).error().code, Errc::kNotFound);
  EXPECT_TRUE(vm().dirty_log(1, bitmap));
}

TEST(Vm, DirtyLogShowsTheGuestsStores) {
  auto guest = TinyGuest::create();
  if (guest == nullptr) GTEST_SKIP() << "no /dev/kvm";
  ASSERT_TRUE(guest->vm.enable_manual_dirty_clear());
  ASSERT_TRUE(guest->vm.set_slot({.id = 1,
                                  .base = Gpa(0x400000),
                                  .size_bytes = 64 * kPageSize,
                                  .host = guest->host(Gpa(0x100000)),
                                  .log_dirty = true}));
  Vcpu vcpu = guest->add_vcpu();
  guest->write(kTinyCode, {0xa2, 0, 0x30, 0x40, 0, 0, 0, 0, 0,  // mov [0x403000], al
                           0xf4});
  ASSERT_TRUE(enter(vcpu, guest->long_mode()));
  ASSERT_TRUE(vcpu.run());
  std::array<std::uint64_t, 1> bitmap{};
  ASSERT_TRUE(guest->vm.dirty_log(1, bitmap));
  EXPECT_EQ(bitmap[0], 1U << 3);
  ASSERT_TRUE(guest->vm.dirty_log(1, bitmap));
  EXPECT_EQ(bitmap[0], 1U << 3) << "pages stay marked until they are cleared";
  EXPECT_FALSE(guest->vm.clear_dirty_log({.slot = 1, .page_count = 64}, {}));
  ASSERT_TRUE(guest->vm.clear_dirty_log({.slot = 1, .page_count = 64}, bitmap));
  ASSERT_TRUE(guest->vm.dirty_log(1, bitmap));
  EXPECT_EQ(bitmap[0], 0u);
}

TEST_F(VmTest, DoorbellRingsWithoutAnExit) {
  auto doorbell = Fd::event();
  ASSERT_TRUE(doorbell);
  IoEvent event{.address = Gpa(0x30000000), .length_bytes = 2, .datamatch = 7};
  ASSERT_TRUE(vm().assign_ioeventfd(event, *doorbell));
  EXPECT_EQ(vm().assign_ioeventfd(event, *doorbell).error().code, Errc::kExists);
  Vcpu vcpu = guest_->add_vcpu();
  auto entry = guest_->long_mode();
  guest_->write(kTinyCode, {0x66, 0xb8, 7, 0,                       // mov ax, 7
                            0x66, 0xa3, 0, 0, 0, 0x30, 0, 0, 0, 0,  // mov [0x30000000], ax
                            0xff, 0xc0,                             // inc eax
                            0x66, 0xa3, 0, 0, 0, 0x30, 0, 0, 0, 0,  // and once more
                            0xf4});
  ASSERT_TRUE(enter(vcpu, entry));
  auto exit = vcpu.run();
  ASSERT_TRUE(exit);
  const auto* store = std::get_if<MmioWrite>(&*exit);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->bytes[0], std::byte{8}) << "only the other value comes to the monitor";
  EXPECT_TRUE(drain_event(doorbell->get()));
  EXPECT_TRUE(vm().deassign_ioeventfd(event, *doorbell));
  EXPECT_FALSE(vm().deassign_ioeventfd(event, *doorbell));
}

TEST_F(VmTest, PortDoorbell) {
  auto doorbell = Fd::event();
  ASSERT_TRUE(doorbell);
  IoEvent event{.address = PortAddr(0x600), .length_bytes = 4, .datamatch = std::nullopt};
  ASSERT_TRUE(vm().assign_ioeventfd(event, *doorbell));
  Vcpu vcpu = guest_->add_vcpu();
  guest_->write(kTinyCode, {0x66, 0xba, 0x00, 0x06, 0xef, 0xe6, 0x80});  // out dx, eax; out 0x80
  ASSERT_TRUE(enter(vcpu, guest_->long_mode()));
  auto exit = vcpu.run();
  ASSERT_TRUE(exit);
  const auto* out = std::get_if<PioOut>(&*exit);
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(out->port, PortAddr(0x80));
  EXPECT_TRUE(drain_event(doorbell->get()));
}

TEST_F(VmTest, RoutesAndIrqfd) {
  std::vector<Route> routes;
  for (std::uint32_t gsi = 0; gsi < 24; ++gsi) {
    routes.push_back({.gsi = gsi, .target = IrqPin{IrqChip::kIoapic, gsi}});
  }
  routes.push_back({.gsi = 24, .target = Msi{.address = 0xfee00000, .data = 0x41}});
  ASSERT_TRUE(vm().set_routes(routes));
  auto event = Fd::event();
  ASSERT_TRUE(event);
  EXPECT_TRUE(vm().assign_irqfd(24, *event));
  EXPECT_FALSE(vm().assign_irqfd(24, *event)) << "the same eventfd twice";
  EXPECT_TRUE(vm().deassign_irqfd(24, *event));
  EXPECT_TRUE(vm().set_irq_line(4, true));
  EXPECT_TRUE(vm().set_irq_line(4, false));
  EXPECT_EQ(vm().set_routes(std::vector<Route>(5000)).error().code, Errc::kExhausted);
}

TEST_F(VmTest, MsiReachesAnEnabledApicOnly) {
  Vcpu vcpu = guest_->add_vcpu();
  auto delivered = vm().signal_msi({.address = 0xfee00000, .data = 0x41});
  ASSERT_TRUE(delivered);
  EXPECT_FALSE(*delivered) << "the local APIC is disabled by software after reset";
}

TEST_F(VmTest, IrqchipStateRoundTrip) {
  ASSERT_TRUE(vm().create_pit());
  ASSERT_TRUE(vm().set_irq_line(5, true));
  auto blob = vm().save_irqchip();
  ASSERT_TRUE(blob);
  ASSERT_TRUE(vm().set_irq_line(5, false));
  ASSERT_TRUE(vm().restore_irqchip(*blob));
  auto again = vm().save_irqchip();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->size(), blob->size());
  for (std::size_t size = 0; size < blob->size(); ++size) {
    ASSERT_FALSE(vm().restore_irqchip(std::span(*blob).first(size))) << size;
  }
  auto changed = *blob;
  changed[12] ^= std::byte{1};  // the number of the first chip
  EXPECT_EQ(vm().restore_irqchip(changed).error().code, Errc::kMalformed);
}

TEST_F(VmTest, ClockCanBeSet) {
  Vcpu vcpu = guest_->add_vcpu();
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  ASSERT_TRUE(vm().set_clock_ns(kHour));
  auto now = vm().clock_ns();
  ASSERT_TRUE(now);
  EXPECT_GE(*now, kHour - 1'000'000'000);
  EXPECT_LT(*now, kHour + 60'000'000'000);
}

TEST_F(VmTest, CapabilitiesOfTheMonitor) {
  EXPECT_TRUE(vm().enable_exit_on_emulation_failure());
  EXPECT_TRUE(vm().enable_x2apic_api());
  EXPECT_TRUE(vm().disable_pmu());
  auto unknown = vm().capability(Capability{60000});
  ASSERT_TRUE(unknown);
  EXPECT_EQ(*unknown, 0);
}

}  // namespace
}  // namespace bulkhead::kvm
