// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_transport.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "devices/pci/fakes_for_test.h"
#include "devices/virtio/device_for_test.h"
#include "devices/virtio/driver_for_test.h"

namespace bulkhead {
namespace {

using namespace virtio;

constexpr std::uint64_t kBarBase = 0x8'0000'0000;
constexpr std::uint16_t kSize = 8;
constexpr std::uint64_t kStatus = 20, kQueueSelect = 22, kQueueSize = 24, kQueueVector = 26,
                        kQueueEnable = 28, kQueueAreas = 32;

// Everything of the host around one device.
struct Host {
  explicit Host(DmaSpace& space) : dma(space) { rebuild(); }
  void rebuild() {
    function.reset();
    function =
        VirtioPciFunction::create(
            device, {.dma = dma, .loop = *loop, .msi = msi, .doorbells = doorbells, .mmio = mmio})
            .value();
  }

  DmaSpace& dma;
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  FakeMsiController msi;
  FakeDoorbellController doorbells;
  Bus mmio{std::uint64_t{1} << 40};
  FakeVirtioDevice device;
  std::unique_ptr<VirtioPciFunction> function;
};

// A driver that finds its way by the capabilities, as real ones do.
class VirtioPciTest : public testing::Test {
 protected:
  struct Capability {
    std::uint64_t at = 0;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
  };

  VirtioPciTest() {
    const std::array<std::uint16_t, 2> sizes{kSize, kSize};
    driver.layout(sizes, TestDriver::kFeatures);
    host.function->assign_bar(0, Gpa(kBarBase));
    set_command(pci::kCommandMemory | pci::kCommandBusMaster);
    find_capabilities();
  }

  PciFunction& function() { return *host.function; }
  void set_command(std::uint16_t value) {
    write_config<std::uint16_t>(function(), pci::kCommand, value);
  }
  void find_capabilities() {
    std::uint8_t at = read_config<std::uint8_t>(function(), pci::kCapabilitiesPointer);
    for (int i = 0; at != 0 && i < 16; ++i) {
      const auto id = read_config<std::uint8_t>(function(), at);
      if (id == pci::kCapabilityMsix) msix = at;
      if (id == 0x09) {
        const auto type = read_config<std::uint8_t>(function(), at + 3u);
        EXPECT_EQ(read_config<std::uint8_t>(function(), at + 4u), 0);
        capabilities[type] = {at, read_config<std::uint32_t>(function(), at + 8u),
                              read_config<std::uint32_t>(function(), at + 12u)};
      }
      at = read_config<std::uint8_t>(function(), at + 1u);
    }
    EXPECT_EQ(capabilities.size(), 5u);
    EXPECT_NE(msix, 0);
    common = base + capabilities[1].offset;
    notify = base + capabilities[2].offset;
    isr = base + capabilities[3].offset;
    device_config = base + capabilities[4].offset;
    table = base + read_config<std::uint32_t>(function(), msix + 4u);
  }

  template <class T>
  T get(std::uint64_t address) {
    return read_bus<T>(host.mmio, address);
  }
  template <class T>
  void set(std::uint64_t address, std::type_identity_t<T> value) {
    EXPECT_TRUE(write_bus<T>(host.mmio, address, value));
  }
  std::uint8_t set_status(std::uint8_t value) {
    set<std::uint8_t>(common + kStatus, value);
    return get<std::uint8_t>(common + kStatus);
  }
  void enable_msix() {
    write_config<std::uint16_t>(function(), msix + 2u, pci::kMsixEnable);
    for (std::uint32_t i = 0; i < 3; ++i) {
      set<std::uint32_t>(table + 16 * i, 0xfee00000);
      set<std::uint32_t>(table + 16 * i + 8, 0x40 + i);
      set<std::uint32_t>(table + 16 * i + 12, 0);
    }
  }
  void set_up_queue(std::uint16_t index, const VirtQueue::Layout& layout) {
    set<std::uint16_t>(common + kQueueSelect, index);
    set<std::uint16_t>(common + kQueueSize, layout.size);
    set<std::uint16_t>(common + kQueueVector, static_cast<std::uint16_t>(index + 1));
    set<std::uint64_t>(common + kQueueAreas, layout.descriptors.value());
    set<std::uint64_t>(common + kQueueAreas + 8, layout.available.value());
    set<std::uint64_t>(common + kQueueAreas + 16, layout.used.value());
    set<std::uint16_t>(common + kQueueEnable, 1);
  }
  void negotiate() {
    EXPECT_EQ(set_status(0), 0);
    set_status(1);
    set_status(3);
    set<std::uint32_t>(common + 8, 0);
    set<std::uint32_t>(common + 12, 1u << 28 | FakeVirtioDevice::kFeature);
    set<std::uint32_t>(common + 8, 1);
    set<std::uint32_t>(common + 12, 1);
    EXPECT_EQ(set_status(11), 11);
    set<std::uint16_t>(common + 16, 0);  // vector 0: configuration
  }
  std::uint8_t start() {
    negotiate();
    set_up_queue(0, driver.layout_of(0));
    set_up_queue(1, driver.layout_of(1));
    return set_status(15);
  }
  // As a guest's store: KVM answers if a doorbell is attached, and the bus if not.
  bool ring(std::uint16_t index) {
    const std::uint64_t address = notify + std::uint64_t{4} * index;
    if (host.doorbells.write(address)) return true;
    set<std::uint16_t>(address, index);
    return false;
  }
  void run() { ASSERT_TRUE(host.loop->run_once(0)); }
  void request(std::uint16_t index) {
    driver.add(index, {driver.put_text("hello")}, {driver.allocate(5)});
  }

  const std::uint64_t base = kBarBase;
  TestDriver driver;
  Host host{driver.space()};
  std::map<std::uint8_t, Capability> capabilities;
  std::uint8_t msix = 0;
  std::uint64_t common = 0, notify = 0, isr = 0, device_config = 0, table = 0;
};

TEST_F(VirtioPciTest, LooksLikeAModernDevice) {
  EXPECT_EQ(read_config<std::uint32_t>(function(), 0), 0x10441af4u);
  EXPECT_EQ(read_config<std::uint8_t>(function(), pci::kRevisionId), 1);
  EXPECT_EQ(read_config<std::uint8_t>(function(), pci::kInterruptLine + 1u), 0);
  EXPECT_GE(capabilities[1].length, 56u);
  EXPECT_EQ(capabilities[2].length, 8u);  // two doorbells
  EXPECT_EQ(read_config<std::uint32_t>(function(), capabilities[2].at + 16), 4u);
  EXPECT_EQ(read_config<std::uint16_t>(function(), msix + 2u), 2);  // three vectors
}

TEST_F(VirtioPciTest, OffersTheTransportsFeatures) {
  EXPECT_EQ(get<std::uint32_t>(common + 4),
            kFeatureIndirectDesc | kFeatureEventIndex | FakeVirtioDevice::kFeature);
  set<std::uint32_t>(common, 1);
  EXPECT_EQ(get<std::uint32_t>(common + 4), kFeatureVersion1 >> 32);
}

TEST_F(VirtioPciTest, ServesARequest) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  EXPECT_EQ(host.device.features,
            kFeatureVersion1 | kFeatureIndirectDesc | FakeVirtioDevice::kFeature);
  request(1);
  EXPECT_TRUE(ring(1));
  EXPECT_FALSE(driver.take_used(1));
  run();
  EXPECT_EQ(driver.take_used(1)->length, 5u);
  EXPECT_EQ(host.msi.sent(2), 1u);
  EXPECT_EQ(host.msi.sent(0), 0u);
  EXPECT_EQ(get<std::uint8_t>(isr), 0);
  EXPECT_EQ(host.device.calls, 1);
}

TEST_F(VirtioPciTest, ServesARequestWithoutKvmsDoorbells) {
  host.doorbells.refuse = true;
  ASSERT_EQ(start(), 15);
  request(0);
  EXPECT_FALSE(ring(0));
  run();
  EXPECT_TRUE(driver.take_used(0));
}

TEST_F(VirtioPciTest, ServesAtTheExitWhatTheDeviceWantsServedThere) {
  host.device.at_exit = true;
  request(0);
  ring(0);  // before DRIVER_OK
  EXPECT_EQ(host.device.calls, 0);
  ASSERT_EQ(start(), 15);
  EXPECT_EQ(host.doorbells.count(), 0u);
  EXPECT_FALSE(ring(0));
  EXPECT_TRUE(driver.take_used(0));   // the event loop did not run
  set<std::uint16_t>(notify + 8, 2);  // there is no such queue
  set_command(pci::kCommandMemory);
  request(0);
  ring(0);
  EXPECT_EQ(host.device.calls, 1) << "no bus master, no access to memory";
}

TEST_F(VirtioPciTest, WithoutMsixOnlyTheIsrTells) {
  ASSERT_EQ(start(), 15);
  request(0);
  ring(0);
  run();
  EXPECT_EQ(host.msi.sent(1), 0u);
  EXPECT_EQ(get<std::uint8_t>(isr), 1);
  EXPECT_EQ(get<std::uint8_t>(isr), 0);  // reading clears
}

TEST_F(VirtioPciTest, DoorbellsAreAttachedWhileTheDeviceRuns) {
  negotiate();
  set_up_queue(1, driver.layout_of(1));
  EXPECT_EQ(host.doorbells.count(), 0u);
  set_status(15);
  EXPECT_EQ(host.doorbells.count(), 1u);
  EXPECT_TRUE(ring(1));
  EXPECT_FALSE(ring(0));
  run();
  EXPECT_EQ(host.device.calls, 1);  // queue 0 was not set up
  set_status(0);
  EXPECT_EQ(host.doorbells.count(), 0u);
}

TEST_F(VirtioPciTest, DoorbellsFollowTheBar) {
  ASSERT_EQ(start(), 15);
  write_config<std::uint32_t>(function(), 0x14, 9);
  EXPECT_FALSE(host.doorbells.write(notify));
  EXPECT_TRUE(host.doorbells.write(notify + 0x1'0000'0000));
  set_command(pci::kCommandBusMaster);
  EXPECT_EQ(host.doorbells.count(), 0u);
  set_command(pci::kCommandBusMaster | pci::kCommandMemory);
  EXPECT_EQ(host.doorbells.count(), 2u);
}

TEST_F(VirtioPciTest, ADoorbellBeforeDriverOkIsIgnored) {
  negotiate();
  set_up_queue(0, driver.layout_of(0));
  request(0);
  ring(0);
  run();
  EXPECT_EQ(host.device.calls, 0);
  EXPECT_FALSE(driver.take_used(0));
}

// The eventfd may have been signalled before the reset, and seen by the loop after it.
TEST_F(VirtioPciTest, ADoorbellFromBeforeAResetIsIgnored) {
  ASSERT_EQ(start(), 15);
  request(0);
  ring(0);
  EXPECT_EQ(set_status(0), 0);
  EXPECT_EQ(host.device.resets, 1);
  run();
  EXPECT_EQ(host.device.calls, 0);
}

TEST_F(VirtioPciTest, StartsAgainAfterAReset) {
  ASSERT_EQ(start(), 15);
  const std::array<std::uint16_t, 2> sizes{kSize, kSize};
  driver.layout(sizes, TestDriver::kFeatures);
  ASSERT_EQ(start(), 15);
  EXPECT_EQ(host.device.activations, 2);
  EXPECT_EQ(host.device.resets, 1);
  request(0);
  ring(0);
  run();
  EXPECT_TRUE(driver.take_used(0));
}

TEST_F(VirtioPciTest, ABrokenQueueMakesTheDeviceAskForAReset) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  driver.offer(0, 999);
  ring(0);
  run();
  EXPECT_EQ(get<std::uint8_t>(common + kStatus), 15 | kStatusNeedsReset);
  EXPECT_EQ(host.msi.sent(0), 1u);
  EXPECT_EQ(get<std::uint8_t>(isr), 2);
  request(1);
  ring(1);
  run();
  EXPECT_EQ(host.device.calls, 1);  // it is not called any more
  EXPECT_EQ(set_status(0), 0);
  const std::array<std::uint16_t, 2> sizes{kSize, kSize};
  driver.layout(sizes, TestDriver::kFeatures);
  EXPECT_EQ(start(), 15);
}

TEST_F(VirtioPciTest, AQueueInAnImpossiblePlaceFailsTheStart) {
  negotiate();
  VirtQueue::Layout layout = driver.layout_of(0);
  layout.used = DmaAddr(TestDriver::kMemorySize);
  set_up_queue(0, layout);
  EXPECT_EQ(set_status(15), 15 | kStatusNeedsReset);
  EXPECT_EQ(host.device.activations, 0);
  ring(0);
  run();
  EXPECT_EQ(set_status(0), 0);
  EXPECT_EQ(start(), 15);
}

TEST_F(VirtioPciTest, ADeviceThatCannotStartAsksForAReset) {
  host.device.refuse = true;
  EXPECT_EQ(start(), 15 | kStatusNeedsReset);
  EXPECT_EQ(host.doorbells.count(), 0u);
  EXPECT_EQ(set_status(0), 0);
  EXPECT_EQ(host.device.resets, 0);  // it never ran
}

TEST_F(VirtioPciTest, ConfigurationIsTheDevices) {
  set<std::uint32_t>(device_config + 4, 0x11223344);
  EXPECT_EQ(get<std::uint16_t>(device_config + 6), 0x1122);
  EXPECT_EQ(get<std::uint64_t>(device_config + 0xff8), 0u);
}

TEST_F(VirtioPciTest, AChangeOfTheConfigurationIsSignalled) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  const auto before = get<std::uint8_t>(common + 21);
  host.device.interrupts().config_changed();
  EXPECT_NE(get<std::uint8_t>(common + 21), before);
  EXPECT_EQ(host.msi.sent(0), 1u);
  EXPECT_EQ(get<std::uint8_t>(isr), 2);
}

TEST_F(VirtioPciTest, InterruptsWaitWhileMaskedOrWhileNotMaster) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  write_config<std::uint16_t>(function(), msix + 2u, pci::kMsixEnable | pci::kMsixFunctionMask);
  request(0);
  ring(0);
  run();
  EXPECT_EQ(host.msi.sent(1), 0u);
  EXPECT_EQ(get<std::uint64_t>(base + 0x5000), 2u);
  write_config<std::uint16_t>(function(), msix + 2u, pci::kMsixEnable);
  EXPECT_EQ(host.msi.sent(1), 1u);
}

TEST_F(VirtioPciTest, DoesNothingWhileItIsNoBusMaster) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  set_command(pci::kCommandMemory);
  request(0);
  ring(0);
  run();
  EXPECT_FALSE(driver.take_used(0));
  host.device.interrupts().config_changed();
  EXPECT_EQ(host.msi.sent(0), 0u);
  set_command(pci::kCommandMemory | pci::kCommandBusMaster);
  EXPECT_EQ(host.msi.sent(0), 1u);
  run();
  EXPECT_TRUE(driver.take_used(0));
}

TEST_F(VirtioPciTest, HolesReadAsZero) {
  for (const std::uint64_t offset : {0x100u, 0x1001u, 0x3000u, 0x6000u, 0x7ff8u}) {
    EXPECT_EQ(get<std::uint64_t>(base + offset), 0u) << offset;
    set<std::uint64_t>(base + offset, ~std::uint64_t{0});
  }
}

// virtio 1.2 §4.1.4.9: the way of firmware that cannot reach the BAR.
TEST_F(VirtioPciTest, ConfigurationSpaceHasAWindow) {
  set_command(0);
  const std::uint64_t cap = capabilities[5].at;
  const auto aim = [&](std::uint8_t bar, std::uint32_t offset, std::uint32_t length) {
    write_config<std::uint8_t>(function(), cap + 4, bar);
    write_config<std::uint32_t>(function(), cap + 8, offset);
    write_config<std::uint32_t>(function(), cap + 12, length);
  };
  aim(0, 18, 2);  // num_queues
  EXPECT_EQ(read_config<std::uint16_t>(function(), cap + 16), 2);
  aim(0, static_cast<std::uint32_t>(kStatus), 1);
  write_config<std::uint8_t>(function(), cap + 16, 3);
  EXPECT_EQ(read_config<std::uint32_t>(function(), cap + 16), 3u);
  // What makes no sense does nothing.
  write_config<std::uint32_t>(function(), cap + 16, 0);
  aim(0, static_cast<std::uint32_t>(kStatus), 1);
  EXPECT_EQ(read_config<std::uint8_t>(function(), cap + 16), 0);
  write_config<std::uint8_t>(function(), cap + 16, 1);
  for (const auto& [bar, offset, length] : std::initializer_list<std::array<std::uint32_t, 3>>{
           {1, 20, 1}, {0, 20, 3}, {0, 20, 0}, {0, 21, 2}, {0, 0x8000, 1}, {0, 0xfffffffc, 4}}) {
    aim(static_cast<std::uint8_t>(bar), offset, length);
    write_config<std::uint32_t>(function(), cap + 16, 0);
  }
  aim(0, static_cast<std::uint32_t>(kStatus), 1);
  EXPECT_EQ(read_config<std::uint8_t>(function(), cap + 16), 1);
}

TEST_F(VirtioPciTest, BehindAnIommuDriversMustKnowOfIt) {
  struct Identity : DmaTranslator {
    Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess) const override {
      return DmaRun{Gpa(from.value()), length};
    }
  } iommu;
  TestDriver other(&iommu);
  Host behind(other.space());
  behind.function->assign_bar(0, Gpa(kBarBase));
  write_config<std::uint16_t>(*behind.function, pci::kCommand, pci::kCommandMemory);
  const auto put = [&](std::uint64_t offset, std::uint32_t value) {
    EXPECT_TRUE(write_bus<std::uint32_t>(behind.mmio, kBarBase + offset, value));
  };
  put(0, 1);
  EXPECT_EQ(read_bus<std::uint32_t>(behind.mmio, kBarBase + 4), 3u);
  put(8, 1);
  put(12, 1);
  write_bus<std::uint8_t>(behind.mmio, kBarBase + kStatus, 11);
  EXPECT_EQ(read_bus<std::uint8_t>(behind.mmio, kBarBase + kStatus), 3);
  put(12, 3);
  write_bus<std::uint8_t>(behind.mmio, kBarBase + kStatus, 11);
  EXPECT_EQ(read_bus<std::uint8_t>(behind.mmio, kBarBase + kStatus), 11);
}

TEST_F(VirtioPciTest, LeavesNothingBehind) {
  ASSERT_EQ(start(), 15);
  host.function.reset();
  EXPECT_EQ(host.device.resets, 1);
  EXPECT_EQ(host.doorbells.count(), 0u);
  EXPECT_FALSE(write_bus<std::uint8_t>(host.mmio, common, 0));
}

TEST_F(VirtioPciTest, SurvivesSavingAndRestoring) {
  enable_msix();
  ASSERT_EQ(start(), 15);
  request(0);
  ring(0);
  run();
  ASSERT_TRUE(driver.take_used(0));
  set<std::uint32_t>(device_config, 0x11223344);
  request(0);
  ring(0);  // rung, but not served before the state is saved
  StateWriter writer;
  function().save(writer);

  Host other(driver.space());
  StateReader reader(writer.bytes());
  ASSERT_TRUE(other.function->restore(reader));
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(other.device.activations, 1);
  EXPECT_EQ(other.doorbells.count(), 2u);
  EXPECT_EQ(read_bus<std::uint32_t>(other.mmio, device_config), 0x11223344u);
  EXPECT_EQ(read_bus<std::uint8_t>(other.mmio, common + kStatus), 15);
  ASSERT_TRUE(other.loop->run_once(0));
  EXPECT_TRUE(driver.take_used(0));
  EXPECT_EQ(other.msi.sent(1), 1u);
  EXPECT_EQ(driver.used_index(0), 2);

  StateWriter again;
  other.function->save(again);
  StateWriter before;
  function().save(before);
  EXPECT_EQ(again.bytes().size(), before.bytes().size());
}

TEST_F(VirtioPciTest, RestoreRefusesTruncation) {
  ASSERT_EQ(start(), 15);
  StateWriter writer;
  function().save(writer);
  for (std::size_t length = 0; length < writer.bytes().size(); ++length) {
    Host other(driver.space());
    StateReader reader(writer.bytes().first(length));
    EXPECT_FALSE(other.function->restore(reader)) << length;
  }
}

// Any byte may be wrong: restoring works or is refused, and the device can be reset afterwards.
TEST_F(VirtioPciTest, RestoreSurvivesAnyWrongByte) {
  ASSERT_EQ(start(), 15);
  StateWriter writer;
  function().save(writer);
  std::vector<std::byte> bytes(writer.bytes().begin(), writer.bytes().end());
  Host other(driver.space());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
      bytes[i] ^= static_cast<std::byte>(flip);
      StateReader reader(bytes);
      static_cast<void>(other.function->restore(reader));
      write_bus<std::uint8_t>(other.mmio, common + kStatus, 0);
      ASSERT_TRUE(other.loop->run_once(0));
      bytes[i] ^= static_cast<std::byte>(flip);
    }
  }
}

// Doorbells, resets and moves of the BAR on three threads at once.
TEST_F(VirtioPciTest, ThreadsDoNotBlockEachOther) {
  enable_msix();
  std::atomic<bool> stop = false;
  std::thread loop([&] { EXPECT_TRUE(host.loop->run()); });
  std::thread mover([&] {
    while (!stop) {
      write_config<std::uint16_t>(function(), pci::kCommand, pci::kCommandBusMaster);
      write_config<std::uint16_t>(function(), pci::kCommand,
                                  pci::kCommandMemory | pci::kCommandBusMaster);
    }
  });
  std::thread ringer([&] {
    while (!stop) {
      if (!host.doorbells.write(notify)) write_bus<std::uint16_t>(host.mmio, notify, 0);
    }
  });
  // By way of the configuration window, which works wherever the BAR is.
  const std::uint64_t cap = capabilities[5].at;
  const auto poke = [&](std::uint64_t offset, std::uint32_t length, std::uint64_t value) {
    write_config<std::uint32_t>(function(), cap + 8, static_cast<std::uint32_t>(offset));
    write_config<std::uint32_t>(function(), cap + 12, length);
    write_config<std::uint32_t>(function(), cap + 16, static_cast<std::uint32_t>(value));
  };
  const VirtQueue::Layout layout = driver.layout_of(0);
  for (int i = 0; i < 1000; ++i) {
    poke(kStatus, 1, 0);
    poke(8, 4, 1);
    poke(12, 4, 1);
    poke(kStatus, 1, 11);
    poke(kQueueSize, 2, layout.size);
    poke(kQueueAreas, 4, layout.descriptors.value());
    poke(kQueueAreas + 8, 4, layout.available.value());
    poke(kQueueAreas + 16, 4, layout.used.value());
    poke(kQueueEnable, 2, 1);
    poke(kStatus, 1, 15);
  }
  EXPECT_EQ(host.device.activations, 1000);
  stop = true;
  mover.join();
  ringer.join();
  host.loop->stop();
  loop.join();
}

}  // namespace
}  // namespace bulkhead
