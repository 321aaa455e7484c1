// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "devices/virtio/driver_for_test.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BULKHEAD_THREAD_SANITIZER
#endif
#endif

namespace bulkhead {
namespace {

using Descriptor = TestDriver::Descriptor;
constexpr std::uint16_t kNext = TestDriver::kDescNext;
constexpr std::uint16_t kWrite = TestDriver::kDescWrite;
constexpr std::uint16_t kIndirect = TestDriver::kDescIndirect;
constexpr std::uint16_t kSize = 8;
constexpr std::uint64_t kEventIndex = virtio::kFeatureEventIndex;

// Calls back before each access of the device; otherwise an identity mapping.
class Watcher : public DmaTranslator {
 public:
  Result<DmaRun> translate(DmaAddr from, std::uint64_t length, DmaAccess access) const override {
    if (on_access) on_access(from, length, access);
    return DmaRun{Gpa(from.value()), length};
  }
  std::function<void(DmaAddr, std::uint64_t, DmaAccess)> on_access;
};

class VirtQueueTest : public testing::Test {
 protected:
  explicit VirtQueueTest(std::uint64_t features = TestDriver::kFeatures) {
    driver.layout(sizes, features);
  }

  VirtQueue& queue() { return driver.queue(0); }
  void offer_chain(std::initializer_list<Descriptor> table) {
    std::uint16_t index = 0;
    for (const Descriptor& descriptor : table) driver.put_descriptor(0, index++, descriptor);
    driver.offer(0, 0);
  }
  DmaSegment put_table(std::initializer_list<Descriptor> table) {
    return driver.put(std::as_bytes(std::span(table.begin(), table.size())));
  }
  void offer_indirect(std::initializer_list<Descriptor> table) {
    const DmaSegment place = put_table(table);
    offer_chain({{place.address.value(), place.length, kIndirect, 0}});
  }
  // The error with which pop() refuses what was offered.
  Errc refused() {
    const Result<bool> popped = queue().pop(chain);
    EXPECT_FALSE(popped.has_value());
    return popped ? Errc::kIo : popped.error().code;
  }
  bool pop() { return queue().pop(chain).value(); }

  const std::array<std::uint16_t, 1> sizes{kSize};
  Watcher watcher;
  TestDriver driver{&watcher};
  DescriptorChain chain;
};

class EventIndexTest : public VirtQueueTest {
 protected:
  EventIndexTest() : VirtQueueTest(TestDriver::kFeatures | kEventIndex) {}
};

TEST_F(VirtQueueTest, IsEmptyAtFirst) {
  EXPECT_FALSE(pop());
  EXPECT_EQ(queue().pending().value(), 0);
}

TEST_F(VirtQueueTest, AQueueThatWasNotSetUpIsEmptyAndSilent) {
  VirtQueue none;
  EXPECT_FALSE(none.enabled());
  EXPECT_FALSE(none.pop(chain).value());
  EXPECT_FALSE(none.enable_doorbell().value());
  EXPECT_TRUE(none.disable_doorbell());
  EXPECT_FALSE(none.wants_interrupt().value());
  EXPECT_FALSE(none.push(0, 0));
}

TEST_F(VirtQueueTest, TakesAChainAndGivesItBack) {
  const DmaSegment out = driver.put_text("request");
  const DmaSegment in = driver.allocate(100);
  const std::uint16_t head = driver.add(0, {out}, {in}).value();
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), head);
  ASSERT_EQ(chain.readable().size(), 1u);
  ASSERT_EQ(chain.writable().size(), 1u);
  EXPECT_EQ(chain.readable()[0].address, out.address);
  EXPECT_EQ(chain.readable()[0].length, 7u);
  EXPECT_EQ(chain.writable()[0].address, in.address);
  EXPECT_EQ(chain.writable()[0].length, 100u);
  EXPECT_FALSE(driver.take_used(0));
  ASSERT_TRUE(queue().push(head, 42));
  const auto used = driver.take_used(0);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, head);
  EXPECT_EQ(used->length, 42u);
  EXPECT_FALSE(pop());
}

TEST_F(VirtQueueTest, TakesAnIndirectChain) {
  const DmaSegment a = driver.allocate(1);
  const DmaSegment b = driver.allocate(2);
  const DmaSegment c = driver.allocate(3);
  ASSERT_TRUE(driver.add_indirect(0, {a}, {b, c}));
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable().size(), 1u);
  ASSERT_EQ(chain.writable().size(), 2u);
  EXPECT_EQ(chain.writable()[1].length, 3u);
}

// virtio 1.2 §2.7.5.3.2: "zero or more normal chained descriptors followed by a single [indirect]"
// one, whose own write flag counts for nothing.
TEST_F(VirtQueueTest, TakesAChainThatEndsInAnIndirectTable) {
  const DmaSegment table = put_table({{0x1000, 5, kNext, 1}, {0x2000, 6, kWrite, 0}});
  offer_chain({{0x3000, 4, kNext, 1}, {table.address.value(), 32, kIndirect | kWrite, 0}});
  ASSERT_TRUE(pop());
  ASSERT_EQ(chain.readable().size(), 2u);
  EXPECT_EQ(chain.readable()[1].length, 5u);
  ASSERT_EQ(chain.writable().size(), 1u);
}

TEST_F(VirtQueueTest, TakesAChainAsLongAsTheQueue) {
  const DmaSegment one = driver.allocate(1);
  const std::vector<DmaSegment> all(kSize, one);
  ASSERT_TRUE(driver.add(0, all, {}));
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable().size(), kSize);
}

TEST_F(VirtQueueTest, ReusesTheChainObject) {
  const DmaSegment one = driver.allocate(1);
  driver.add(0, {one, one}, {one});
  driver.add(0, {}, {one});
  ASSERT_TRUE(pop());
  ASSERT_TRUE(pop());
  EXPECT_TRUE(chain.readable().empty());
  EXPECT_EQ(chain.writable().size(), 1u);
}

TEST_F(VirtQueueTest, RefusesADescriptorThatPointsToItself) {
  offer_chain({{0x1000, 1, kNext, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesALoop) {
  offer_chain({{0x1000, 1, kNext, 1}, {0x1000, 1, kNext, 2}, {0x1000, 1, kNext, 1}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesALoopOfEmptyDescriptors) {
  offer_chain({{0, 0, kNext, 1}, {0, 0, kNext, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesALoopInAnIndirectTable) {
  offer_indirect({{0x1000, 1, kNext, 1}, {0x1000, 1, kNext, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesAnIndirectChainLongerThanTheQueue) {
  std::vector<Descriptor> table;
  for (std::uint16_t i = 1; i <= kSize + 1; ++i) table.push_back({0x1000, 1, kNext, i});
  table.back().flags = 0;
  const DmaSegment place = driver.put(std::as_bytes(std::span(table)));
  offer_chain({{place.address.value(), place.length, kIndirect, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

// The table may be larger than the chain in it.
TEST_F(VirtQueueTest, TakesAShortChainInALongTable) {
  const DmaSegment place = driver.allocate(16 * 1000);
  const Descriptor first{0x1000, 1, kNext, 999};
  const Descriptor last{0x1000, 2, 0, 0};
  ASSERT_TRUE(
      driver.memory().write(Gpa(place.address.value()), std::as_bytes(std::span(&first, 1))));
  ASSERT_TRUE(driver.memory().write(Gpa(place.address.value() + 16 * 999),
                                    std::as_bytes(std::span(&last, 1))));
  offer_chain({{place.address.value(), place.length, kIndirect, 0}});
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.readable().size(), 2u);
}

TEST_F(VirtQueueTest, RefusesIndirectInIndirect) {
  const DmaSegment inner = put_table({{0x1000, 1, 0, 0}});
  offer_indirect({{inner.address.value(), 16, kIndirect, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableInsideItself) {
  const DmaSegment place = driver.allocate(16);
  const Descriptor self{place.address.value(), 16, kIndirect, 0};
  ASSERT_TRUE(
      driver.memory().write(Gpa(place.address.value()), std::as_bytes(std::span(&self, 1))));
  offer_chain({self});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableOfAWrongLength) {
  for (const std::uint32_t length : {0u, 1u, 15u, 17u, 24u, 0xffffffffu}) {
    const DmaSegment place = put_table({{0x1000, 1, 0, 0}, {0x1000, 1, 0, 0}});
    offer_chain({{place.address.value(), length, kIndirect, 0}});
    EXPECT_EQ(refused(), Errc::kMalformed) << length;
    driver.layout(sizes, TestDriver::kFeatures);
  }
}

TEST_F(VirtQueueTest, RefusesAnIndirectDescriptorWithASuccessor) {
  const DmaSegment place = put_table({{0x1000, 1, 0, 0}});
  offer_chain({{place.address.value(), 16, kIndirect | kNext, 1}, {0x1000, 1, 0, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableOutsideOfMemory) {
  for (const std::uint64_t address :
       {TestDriver::kMemorySize - 8, TestDriver::kMemorySize, ~std::uint64_t{0} - 7}) {
    offer_chain({{address, 16, kIndirect, 0}});
    EXPECT_EQ(refused(), Errc::kOutOfRange) << address;
    driver.layout(sizes, TestDriver::kFeatures);
  }
}

TEST_F(VirtQueueTest, RefusesIndirectThatWasNotNegotiated) {
  driver.layout(sizes, virtio::kFeatureVersion1);
  offer_indirect({{0x1000, 1, 0, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesAHeadOutsideOfTheTable) {
  for (const std::uint16_t head : {std::uint16_t{kSize}, std::uint16_t{0xffff}}) {
    driver.offer(0, head);
    EXPECT_EQ(refused(), Errc::kMalformed);
    driver.layout(sizes, TestDriver::kFeatures);
  }
}

TEST_F(VirtQueueTest, RefusesASuccessorOutsideOfTheTable) {
  offer_chain({{0x1000, 1, kNext, kSize}});
  EXPECT_EQ(refused(), Errc::kMalformed);
  driver.layout(sizes, TestDriver::kFeatures);
  offer_indirect({{0x1000, 1, kNext, 2}, {0x1000, 1, 0, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesReadableAfterWritable) {
  offer_chain({{0x1000, 1, kNext | kWrite, 1}, {0x1000, 1, 0, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, RefusesMoreThan4GiB) {
  offer_chain({{0, 0xffffffff, kNext, 1}, {0, 2, 0, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
  driver.layout(sizes, TestDriver::kFeatures);
  offer_chain({{0, 0xffffffff, kNext, 1}, {0, 1, 0, 0}});
  EXPECT_TRUE(pop());
}

TEST_F(VirtQueueTest, AnErrorTakesNothing) {
  offer_chain({{0x1000, 1, kNext, 0}});
  EXPECT_EQ(refused(), Errc::kMalformed);
  EXPECT_EQ(queue().pending().value(), 1);
}

TEST_F(VirtQueueTest, RefusesAnIndexThatRunsAhead) {
  driver.set_available_index(0, kSize);
  EXPECT_EQ(queue().pending().value(), kSize);
  driver.set_available_index(0, kSize + 1);
  EXPECT_EQ(refused(), Errc::kMalformed);
  EXPECT_FALSE(queue().pending());
  EXPECT_FALSE(queue().enable_doorbell());
  // One that runs backwards is far ahead.
  driver.set_available_index(0, 0xffff);
  EXPECT_EQ(refused(), Errc::kMalformed);
}

TEST_F(VirtQueueTest, IndicesWrap) {
  const DmaSegment in = driver.allocate(4);
  for (std::uint32_t i = 0; i < 70000; ++i) {
    const auto head = driver.add(0, {}, {in});
    ASSERT_TRUE(head);
    ASSERT_TRUE(pop());
    ASSERT_EQ(chain.head(), *head);
    ASSERT_TRUE(queue().push(*head, i));
    ASSERT_EQ(driver.take_used(0)->length, i);
  }
  EXPECT_EQ(driver.used_index(0), 70000 - 65536);
}

TEST_F(VirtQueueTest, CompletesOutOfOrder) {
  const DmaSegment in = driver.allocate(4);
  const std::uint16_t first = driver.add(0, {}, {in}).value();
  const std::uint16_t second = driver.add(0, {}, {in}).value();
  ASSERT_TRUE(pop());
  ASSERT_TRUE(pop());
  ASSERT_TRUE(queue().push(second, 2));
  ASSERT_TRUE(queue().push(first, 1));
  EXPECT_EQ(driver.take_used(0)->id, second);
  EXPECT_EQ(driver.take_used(0)->id, first);
}

TEST_F(VirtQueueTest, UnpopPutsBack) {
  const std::uint16_t head = driver.add(0, {}, {driver.allocate(4)}).value();
  ASSERT_TRUE(pop());
  queue().unpop();
  EXPECT_EQ(queue().pending().value(), 1);
  ASSERT_TRUE(pop());
  EXPECT_EQ(chain.head(), head);
}

TEST_F(VirtQueueTest, PushRefusesARequestThatCannotExist) {
  EXPECT_FALSE(queue().push(kSize, 0));
  EXPECT_EQ(driver.used_index(0), 0);
}

TEST_F(VirtQueueTest, CreateChecksTheLayout) {
  const VirtQueue::Layout good = driver.layout_of(0);
  const DmaSpace space(driver.memory());
  const auto works = [&](auto change) {
    VirtQueue::Layout layout = good;
    change(layout);
    return VirtQueue::create(space, layout, 0).has_value();
  };
  EXPECT_TRUE(works([](auto&) {}));
  EXPECT_TRUE(works([](auto& l) { l.size = 256; }));
  EXPECT_TRUE(works([](auto& l) { l.size = 1; }));
  for (const int size : {0, 3, 255, 257, 512, 32768, 65535}) {
    const auto narrow = static_cast<std::uint16_t>(size);
    EXPECT_FALSE(works([narrow](auto& l) { l.size = narrow; })) << size;
  }
  EXPECT_FALSE(works([](auto& l) { l.descriptors = l.descriptors + 8; }));
  EXPECT_FALSE(works([](auto& l) { l.available = l.available + 1; }));
  EXPECT_FALSE(works([](auto& l) { l.used = l.used + 2; }));
  constexpr std::uint64_t kEnd = TestDriver::kMemorySize;
  EXPECT_TRUE(works([](auto& l) { l.descriptors = DmaAddr(kEnd - 16 * kSize); }));
  EXPECT_FALSE(works([](auto& l) { l.descriptors = DmaAddr(kEnd - 16 * kSize + 16); }));
  // The events behind the rings count.
  EXPECT_TRUE(works([](auto& l) { l.available = DmaAddr(kEnd - 6 - 2 * kSize); }));
  EXPECT_FALSE(works([](auto& l) { l.available = DmaAddr(kEnd - 4 - 2 * kSize); }));
  EXPECT_FALSE(works([](auto& l) { l.used = DmaAddr(kEnd - 4 - 8 * kSize); }));
  EXPECT_TRUE(works([](auto& l) { l.used = DmaAddr(kEnd - 8 - 8 * kSize); }));
  EXPECT_FALSE(works([](auto& l) { l.used = DmaAddr(~std::uint64_t{3}); }));
}

// What we write into the rings then becomes descriptors: nonsense, but nothing worse.
TEST_F(VirtQueueTest, PartsMayOverlap) {
  const DmaAddr same(0x10000);
  VirtQueue overlapping =
      VirtQueue::create(driver.space(), {kSize, same, same, same}, TestDriver::kFeatures).value();
  ASSERT_TRUE(driver.memory().store<std::uint16_t>(Gpa(0x10002), 1));
  for (int i = 0; i < 100; ++i) {
    const auto popped = overlapping.pop(chain);
    if (popped && *popped) {
      EXPECT_TRUE(overlapping.push(chain.head(), 0xffffffff));
    }
    EXPECT_TRUE(overlapping.disable_doorbell());
    static_cast<void>(overlapping.enable_doorbell());
  }
}

// The driver rewrites a descriptor as soon as the device has begun to read it. Only the first
// version counts, and each descriptor is read once.
TEST_F(VirtQueueTest, ReadsEachDescriptorOnce) {
  std::vector<std::uint64_t> reads;
  offer_chain({{0x1000, 1, kNext, 1}, {0x2000, 2, kWrite, 0}});
  const std::uint64_t table = driver.layout_of(0).descriptors.value();
  watcher.on_access = [&](DmaAddr from, std::uint64_t length, DmaAccess) {
    if (from.value() < table || from.value() >= table + 16 * kSize) return;
    EXPECT_EQ(length, 16u);
    reads.push_back((from.value() - table) / 16);
    // While the second is read, the first is rewritten.
    if (reads.back() == 1) driver.put_descriptor(0, 0, {0x666, 666, kIndirect, 9});
  };
  ASSERT_TRUE(pop());
  watcher.on_access = nullptr;
  EXPECT_EQ(reads, (std::vector<std::uint64_t>{0, 1}));
  ASSERT_EQ(chain.readable().size(), 1u);
  EXPECT_EQ(chain.readable()[0].address, DmaAddr(0x1000));
  EXPECT_EQ(chain.readable()[0].length, 1u);
}

TEST_F(VirtQueueTest, ReadsTheHeadAndTheIndexOnce) {
  offer_chain({{0x1000, 1, 0, 0}});
  const std::uint64_t available = driver.layout_of(0).available.value();
  int index_reads = 0;
  int head_reads = 0;
  watcher.on_access = [&](DmaAddr from, std::uint64_t, DmaAccess) {
    if (from.value() == available + 2) ++index_reads;
    if (from.value() == available + 4) ++head_reads;
  };
  ASSERT_TRUE(pop());
  watcher.on_access = nullptr;
  EXPECT_EQ(index_reads, 1);
  EXPECT_EQ(head_reads, 1);
}

// Another processor flips a descriptor between two valid forms without pause: every chain that is
// taken is one of them. (A descriptor is 16 bytes, which the guest cannot write at once either, so
// the forms differ in one field only.)
TEST_F(VirtQueueTest, AChainIsConsistentWhileMemoryChanges) {
#ifdef BULKHEAD_THREAD_SANITIZER
  GTEST_SKIP() << "racing with the guest is the subject of this test";
#endif
  driver.put_descriptor(0, 0, {0x1000, 1, kNext, 1});
  driver.put_descriptor(0, 1, {0x2000, 2, 0, 0});
  driver.put_descriptor(0, 2, {0x3000, 3, kWrite, 0});
  std::atomic<bool> stop = false;
  const Gpa next(driver.layout_of(0).descriptors.value() + 14);
  std::thread flipper([&] {
    for (std::uint16_t i = 0; !stop; ++i) {
      EXPECT_TRUE(driver.memory().store<std::uint16_t>(next, i % 2 == 0 ? 1 : 2));
    }
  });
  for (int i = 0; i < 20000; ++i) {
    driver.offer(0, 0);
    ASSERT_TRUE(pop());
    if (chain.writable().empty()) {
      ASSERT_EQ(chain.readable().size(), 2u);
      ASSERT_EQ(chain.readable()[1].length, 2u);
    } else {
      ASSERT_EQ(chain.readable().size(), 1u);
      ASSERT_EQ(chain.writable()[0].length, 3u);
    }
  }
  stop = true;
  flipper.join();
}

TEST_F(VirtQueueTest, FlagsSuppressInterrupts) {
  EXPECT_FALSE(queue().wants_interrupt().value());  // nothing was pushed
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_TRUE(queue().wants_interrupt().value());
  EXPECT_FALSE(queue().wants_interrupt().value());
  driver.set_no_interrupt(0, true);
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_FALSE(queue().wants_interrupt().value());
}

TEST_F(VirtQueueTest, FlagsSuppressDoorbells) {
  EXPECT_TRUE(driver.doorbell_wanted(0));
  ASSERT_TRUE(queue().disable_doorbell());
  EXPECT_FALSE(driver.doorbell_wanted(0));
  EXPECT_FALSE(queue().enable_doorbell().value());
  EXPECT_TRUE(driver.doorbell_wanted(0));
  driver.add(0, {}, {driver.allocate(1)});
  EXPECT_TRUE(queue().enable_doorbell().value());
}

// A request that arrives exactly while doorbells are being enabled.
TEST_F(VirtQueueTest, EnablingDoorbellsMissesNoRequest) {
  const std::uint64_t used = driver.layout_of(0).used.value();
  ASSERT_TRUE(queue().disable_doorbell());
  watcher.on_access = [&](DmaAddr to, std::uint64_t, DmaAccess access) {
    if (access == DmaAccess::kWrite && to.value() == used) driver.offer(0, 0);
  };
  EXPECT_TRUE(queue().enable_doorbell().value());
  watcher.on_access = nullptr;
}

TEST_F(EventIndexTest, InterruptsWhenTheIndexPassesTheDriversWish) {
  driver.set_used_event(0, 0);  // after the first
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_TRUE(queue().wants_interrupt().value());
  driver.set_used_event(0, 3);  // after the fourth
  ASSERT_TRUE(queue().push(0, 0));
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_FALSE(queue().wants_interrupt().value());
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_TRUE(queue().wants_interrupt().value());
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_FALSE(queue().wants_interrupt().value());  // passed already
  // The flag counts for nothing.
  driver.set_no_interrupt(0, true);
  driver.set_used_event(0, 5);
  ASSERT_TRUE(queue().push(0, 0));
  EXPECT_TRUE(queue().wants_interrupt().value());
}

TEST_F(EventIndexTest, ABatchThatPassesTheWishInterruptsOnce) {
  driver.set_used_event(0, 2);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(queue().push(0, 0));
  EXPECT_TRUE(queue().wants_interrupt().value());
  EXPECT_FALSE(queue().wants_interrupt().value());
}

TEST_F(EventIndexTest, InterruptsAcrossTheWrap) {
  for (int i = 0; i < 0xffff; ++i) ASSERT_TRUE(queue().push(0, 0));
  static_cast<void>(queue().wants_interrupt());
  driver.set_used_event(0, 0);
  ASSERT_TRUE(queue().push(0, 0));  // number 0xffff
  EXPECT_FALSE(queue().wants_interrupt().value());
  ASSERT_TRUE(queue().push(0, 0));  // number 0
  EXPECT_TRUE(queue().wants_interrupt().value());
}

TEST_F(EventIndexTest, DoorbellsAreAskedForByPosition) {
  driver.add(0, {}, {driver.allocate(1)});
  driver.add(0, {}, {driver.allocate(1)});
  ASSERT_TRUE(queue().disable_doorbell());
  EXPECT_TRUE(driver.doorbell_wanted(0));  // §2.7.10: the flags stay 0
  ASSERT_TRUE(pop());
  EXPECT_EQ(driver.avail_event(0), 0);
  EXPECT_TRUE(queue().enable_doorbell().value());  // one is left
  EXPECT_EQ(driver.avail_event(0), 1);
  ASSERT_TRUE(pop());
  EXPECT_FALSE(queue().enable_doorbell().value());
  EXPECT_EQ(driver.avail_event(0), 2);
}

TEST_F(EventIndexTest, SurvivesSavingAndRestoring) {
  const DmaSegment in = driver.allocate(1);
  driver.add(0, {}, {in});
  driver.add(0, {}, {in});
  driver.set_used_event(0, 1);
  ASSERT_TRUE(pop());
  ASSERT_TRUE(queue().push(chain.head(), 0));
  EXPECT_FALSE(queue().wants_interrupt().value());
  StateWriter writer;
  queue().save(writer);

  VirtQueue copy =
      VirtQueue::create(driver.space(), queue().layout(), TestDriver::kFeatures | kEventIndex)
          .value();
  StateReader reader(writer.bytes());
  ASSERT_TRUE(copy.restore(reader));
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(copy.pending().value(), 1);
  ASSERT_TRUE(copy.pop(chain).value());
  ASSERT_TRUE(copy.push(chain.head(), 0));
  EXPECT_TRUE(copy.wants_interrupt().value());
  EXPECT_EQ(driver.used_index(0), 2);
}

TEST_F(VirtQueueTest, RestoreRefusesNonsense) {
  StateWriter writer;
  writer.put(std::uint16_t{kSize + 1});  // more taken than the queue holds
  writer.put(std::uint16_t{0});
  writer.put(std::uint16_t{0});
  StateReader reader(writer.bytes());
  EXPECT_FALSE(queue().restore(reader));
  for (std::size_t length = 0; length < 6; ++length) {
    StateReader truncated(writer.bytes().first(length));
    EXPECT_FALSE(queue().restore(truncated));
  }
  EXPECT_EQ(queue().pending().value(), 0);
}

}  // namespace
}  // namespace bulkhead
