// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "devices/fakes_for_test.h"
#include "devices/virtio/driver_for_test.h"
#include "devices/virtio/memory_for_test.h"

namespace bulkhead {
namespace {

using Units = std::set<std::uint64_t>;

constexpr Gpa kBase{4 * kGiB};
constexpr std::uint64_t kUnits = 4;
constexpr std::uint64_t kRegion = kUnits * kGrowthUnit;
constexpr std::uint64_t kBlock = VirtioMem::kBlockSize;
constexpr std::uint64_t kUnitBlocks = VirtioMem::kUnitBlocks;

enum Type : std::uint16_t { kPlug, kUnplug, kUnplugAll, kState, kUnknown };
enum Answer : std::uint16_t { kAck, kNack, kBusy, kError };
enum State : std::uint16_t { kPlugged, kUnplugged, kMixed };

class VirtioMemTest : public testing::Test {
 protected:
  VirtioMemTest() {
    loop_ = EventLoop::create().value();
    memory_ = create();
    EXPECT_TRUE(driver_.start(*memory_));
  }
  std::unique_ptr<VirtioMem> create() {
    return VirtioMem::create({kBase, kRegion}, driver_.space(), *loop_, resizer_).value();
  }
  MemoryResponse ask(const MemoryRequest& request) {
    // A few places in turn: the driver's memory is never given back.
    if (places_.size() < 8) places_.push_back(driver_.allocate(64));
    const DmaSegment place = places_[next_++ % places_.size()];
    EXPECT_TRUE(
        driver_.memory().write(Gpa(place.address.value()), std::as_bytes(std::span(&request, 1))));
    const DmaSegment answer{place.address + 32, sizeof(MemoryResponse)};
    driver_.add(0, {{place.address, sizeof request}}, {answer});
    EXPECT_TRUE(driver_.ring(0));
    while (driver_.used_index(0) == used_) EXPECT_TRUE(loop_->run_once(0));
    ++used_;
    EXPECT_EQ(driver_.take_used(0)->length, sizeof(MemoryResponse));
    return driver_.get_value<MemoryResponse>(answer);
  }
  std::uint16_t ask(Type type, std::uint64_t first_block, std::uint64_t count) {
    return ask({.type = type,
                .addr = kBase.value() + first_block * kBlock,
                .nb_blocks = static_cast<std::uint16_t>(count)})
        .type;
  }
  std::uint16_t state(std::uint64_t first_block, std::uint64_t count) {
    const MemoryResponse response = ask({.type = kState,
                                         .addr = kBase.value() + first_block * kBlock,
                                         .nb_blocks = static_cast<std::uint16_t>(count)});
    EXPECT_EQ(response.type, kAck);
    return response.state;
  }
  void request_blocks(std::uint64_t count) {
    ASSERT_TRUE(memory_->set_requested_size(count * kBlock));
  }
  std::uint64_t config(std::uint64_t offset) {
    std::uint64_t value = 0;
    memory_->read_config(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::uint64_t plugged_blocks() { return memory_->counters().plugged_bytes / kBlock; }

  TestDriver driver_;
  FakeResizer resizer_{kBase};
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<VirtioMem> memory_;
  std::vector<DmaSegment> places_;
  std::size_t next_ = 0;
  std::uint16_t used_ = 0;
};

TEST_F(VirtioMemTest, TellsItsRegion) {
  EXPECT_EQ(config(0), 2 * kMiB);
  EXPECT_EQ(config(8), 0u);  // node and padding
  EXPECT_EQ(config(16), kBase.value());
  EXPECT_EQ(config(24), kRegion);
  EXPECT_EQ(config(32), kRegion);
  EXPECT_EQ(config(40), 0u);
  EXPECT_EQ(config(48), 0u);
  EXPECT_EQ(config(56), 0u);
  const std::uint64_t ones = ~std::uint64_t{0};
  for (std::uint64_t offset = 0; offset < 64; offset += 8) {
    memory_->write_config(offset, std::as_bytes(std::span(&ones, 1)));
  }
  EXPECT_EQ(config(48), 0u);
  EXPECT_EQ(memory_->device_id(), 24u);
  EXPECT_EQ(memory_->offered_features(), 2u);
}

TEST_F(VirtioMemTest, GrowsAndShrinks) {
  request_blocks(100);
  EXPECT_EQ(driver_.interrupts().config_changes, 1);
  EXPECT_EQ(config(48), 100 * kBlock);
  EXPECT_EQ(ask(kPlug, 0, 64), kAck);
  EXPECT_EQ(ask(kPlug, 64, 36), kAck);
  EXPECT_EQ(config(40), 100 * kBlock);
  EXPECT_EQ(resizer_.units, (Units{0, 1}));
  EXPECT_EQ(memory_->counters().units, 2u);
  request_blocks(10);
  EXPECT_EQ(ask(kUnplug, 64, 36), kAck);
  EXPECT_EQ(ask(kUnplug, 10, 54), kAck);
  EXPECT_EQ(config(40), 10 * kBlock);
  EXPECT_EQ(resizer_.units, Units{0});
  ASSERT_EQ(resizer_.discarded.size(), 1u);
  EXPECT_EQ(resizer_.discarded[0], std::pair(10 * kBlock, 54 * kBlock));
  EXPECT_EQ(driver_.interrupts().config_changes, 2);  // none for the plugged size (§5.15.4.2)
}

TEST_F(VirtioMemTest, UnitsComeWithTheirFirstBlockAndGoWithTheirLast) {
  request_blocks(2 * kUnitBlocks);
  EXPECT_EQ(ask(kPlug, 70, 1), kAck);
  EXPECT_EQ(resizer_.units, Units{1});
  EXPECT_EQ(ask(kPlug, 71, 1), kAck);
  EXPECT_EQ(ask(kUnplug, 70, 1), kAck);
  EXPECT_EQ(resizer_.units, Units{1});
  EXPECT_EQ(ask(kUnplug, 71, 1), kAck);
  EXPECT_EQ(resizer_.units, Units{});
  EXPECT_EQ(ask(kPlug, 63, 2), kAck);  // across the boundary
  EXPECT_EQ(resizer_.units, (Units{0, 1}));
  EXPECT_EQ(ask(kUnplug, 64, 1), kAck);
  EXPECT_EQ(resizer_.units, Units{0});
}

TEST_F(VirtioMemTest, RangesAreChecked) {
  request_blocks(kRegion / kBlock);
  const std::uint64_t blocks = kRegion / kBlock;
  const auto refused = [&](Type type, std::uint64_t addr, std::uint16_t count) {
    return ask({.type = type, .addr = addr, .nb_blocks = count}).type == kError;
  };
  for (const Type type : {kPlug, kUnplug, kState}) {
    EXPECT_TRUE(refused(type, kBase.value(), 0));
    EXPECT_TRUE(refused(type, kBase.value() + 1, 1));
    EXPECT_TRUE(refused(type, kBase.value() + kPageSize, 1));
    EXPECT_TRUE(refused(type, kBase.value() - kBlock, 1));
    EXPECT_TRUE(refused(type, kBase.value() - kBlock, 2));
    EXPECT_TRUE(refused(type, 0, 1));
    EXPECT_TRUE(refused(type, 0, 0xffff));
    EXPECT_TRUE(refused(type, kBase.value() + kRegion, 1));
    EXPECT_TRUE(refused(type, kBase.value() + kRegion - kBlock, 2));
    EXPECT_TRUE(refused(type, kBase.value(), static_cast<std::uint16_t>(blocks + 1)));
    EXPECT_TRUE(refused(type, kBase.value(), 0xffff));
    EXPECT_TRUE(refused(type, ~std::uint64_t{0} - kBlock + 1, 1));
    EXPECT_TRUE(refused(type, ~std::uint64_t{0} - kBlock + 1, 0xffff));
    EXPECT_TRUE(refused(type, std::uint64_t{1} << 63, 1));
  }
  EXPECT_EQ(resizer_.calls, 0);
  // The control: the same requests at the edges of the region.
  EXPECT_EQ(ask(kPlug, 0, blocks), kAck);
  EXPECT_EQ(state(0, blocks), kPlugged);
  EXPECT_EQ(ask(kUnplug, blocks - 1, 1), kAck);
}

TEST_F(VirtioMemTest, BlocksThatAreAlreadySo) {
  request_blocks(64);
  EXPECT_EQ(ask(kUnplug, 0, 1), kError);
  EXPECT_EQ(ask(kPlug, 5, 3), kAck);
  EXPECT_EQ(ask(kPlug, 7, 2), kError);
  EXPECT_EQ(ask(kPlug, 4, 2), kError);
  EXPECT_EQ(ask(kPlug, 0, 20), kError);
  EXPECT_EQ(ask(kUnplug, 4, 2), kError);
  EXPECT_EQ(ask(kUnplug, 7, 2), kError);
  EXPECT_EQ(ask(kUnplug, 5, 4), kError);
  EXPECT_EQ(plugged_blocks(), 3u);
  EXPECT_EQ(ask(kUnplug, 5, 3), kAck);
}

TEST_F(VirtioMemTest, NoMoreIsPluggedThanAskedFor) {
  EXPECT_EQ(ask(kPlug, 0, 1), kNack);
  request_blocks(3);
  EXPECT_EQ(ask(kPlug, 0, 4), kNack);
  EXPECT_EQ(ask(kPlug, 0, 2), kAck);
  EXPECT_EQ(ask(kPlug, 2, 2), kNack);
  EXPECT_EQ(ask(kPlug, 2, 1), kAck);
  EXPECT_EQ(ask(kPlug, 3, 1), kNack);
  request_blocks(1);  // less than is plugged
  EXPECT_EQ(ask(kPlug, 3, 1), kNack);
  EXPECT_EQ(ask(kUnplug, 2, 1), kAck);
  EXPECT_EQ(ask(kPlug, 3, 1), kNack);
  EXPECT_EQ(plugged_blocks(), 2u);
}

// A block in each unit would cost the host 64 times what it offered.
TEST_F(VirtioMemTest, ScatteredBlocksGetNoMoreUnits) {
  request_blocks(4);
  EXPECT_EQ(ask(kPlug, 0, 1), kAck);
  EXPECT_EQ(ask(kPlug, kUnitBlocks, 1), kBusy);
  EXPECT_EQ(ask(kPlug, kUnitBlocks - 1, 2), kBusy);
  EXPECT_EQ(resizer_.units, Units{0});
  request_blocks(kUnitBlocks + 1);  // fills more than a unit: now it may
  EXPECT_EQ(ask(kPlug, kUnitBlocks, 1), kAck);
  EXPECT_EQ(ask(kPlug, 2 * kUnitBlocks, 1), kBusy);
  EXPECT_EQ(resizer_.units, (Units{0, 1}));
}

TEST_F(VirtioMemTest, States) {
  request_blocks(3 * kUnitBlocks);
  EXPECT_EQ(state(0, 4 * kUnitBlocks), kUnplugged);
  EXPECT_EQ(ask(kPlug, 60, 100), kAck);
  EXPECT_EQ(state(60, 100), kPlugged);
  EXPECT_EQ(state(159, 1), kPlugged);
  EXPECT_EQ(state(64, 64), kPlugged);
  EXPECT_EQ(state(59, 2), kMixed);
  EXPECT_EQ(state(159, 2), kMixed);
  EXPECT_EQ(state(0, 4 * kUnitBlocks), kMixed);
  EXPECT_EQ(state(160, 10), kUnplugged);
  EXPECT_EQ(state(0, 60), kUnplugged);
}

TEST_F(VirtioMemTest, UnplugAll) {
  request_blocks(3 * kUnitBlocks);
  EXPECT_EQ(ask(kPlug, 60, 100), kAck);
  EXPECT_EQ(ask({.type = kUnplugAll, .addr = 77, .nb_blocks = 3}).type, kAck);  // ignored fields
  EXPECT_EQ(plugged_blocks(), 0u);
  EXPECT_EQ(resizer_.units, Units{});
  EXPECT_EQ(state(0, 4 * kUnitBlocks), kUnplugged);
  EXPECT_EQ(ask({.type = kUnplugAll}).type, kAck);
  EXPECT_EQ(ask(kPlug, 0, 1), kAck);
}

TEST_F(VirtioMemTest, UnknownRequests) {
  EXPECT_EQ(ask(kUnknown, 0, 1), kError);
  EXPECT_EQ(ask({.type = 0xffff, .addr = kBase.value(), .nb_blocks = 1}).type, kError);
}

TEST_F(VirtioMemTest, ExhaustedHostLeavesNothingBehind) {
  request_blocks(4 * kUnitBlocks);
  resizer_.limit = 2;
  EXPECT_EQ(ask(kPlug, 10, 3 * kUnitBlocks), kBusy);  // two of four units could be had
  EXPECT_EQ(resizer_.units, Units{});
  EXPECT_EQ(plugged_blocks(), 0u);
  EXPECT_EQ(state(0, 4 * kUnitBlocks), kUnplugged);
  EXPECT_EQ(ask(kPlug, 10, kUnitBlocks), kAck);
  resizer_.limit = 4;
  EXPECT_EQ(ask(kPlug, 2 * kUnitBlocks, 2 * kUnitBlocks), kAck);
  EXPECT_EQ(resizer_.units, (Units{0, 1, 2, 3}));
}

TEST_F(VirtioMemTest, UnitThatTheHostFailsToTakeBack) {
  request_blocks(2 * kUnitBlocks);
  EXPECT_EQ(ask(kPlug, 0, 65), kAck);
  resizer_.refuse_removal = true;
  EXPECT_EQ(ask(kUnplug, 0, 64), kAck);
  EXPECT_EQ(memory_->counters().units, 2u);
  ASSERT_FALSE(resizer_.discarded.empty());
  EXPECT_EQ(resizer_.discarded.back(), std::pair(std::uint64_t{0}, kGrowthUnit));
  EXPECT_EQ(ask(kPlug, 3, 1), kAck);  // it is still there to be used
  EXPECT_EQ(ask(kUnplug, 3, 1), kAck);
  resizer_.refuse_removal = false;
  EXPECT_EQ(ask(kUnplug, 64, 1), kAck);  // the next unplugging takes both back
  EXPECT_EQ(resizer_.units, Units{});
  EXPECT_EQ(memory_->counters().units, 0u);
}

TEST_F(VirtioMemTest, FailedDiscardIsNotTheDriversAffair) {
  request_blocks(2);
  EXPECT_EQ(ask(kPlug, 0, 2), kAck);
  resizer_.refuse_discard = true;
  EXPECT_EQ(ask(kUnplug, 0, 1), kAck);
  EXPECT_EQ(plugged_blocks(), 1u);
}

// §5.15.5.2: a device reset is not a system reset.
TEST_F(VirtioMemTest, DeviceResetKeepsBlocksAndSystemResetDoesNot) {
  request_blocks(64);
  EXPECT_EQ(ask(kPlug, 0, 10), kAck);
  driver_.reset();
  EXPECT_EQ(plugged_blocks(), 10u);
  EXPECT_EQ(resizer_.units, Units{0});
  ASSERT_TRUE(driver_.start(*memory_));
  places_.clear();
  used_ = 0;
  EXPECT_EQ(state(0, 10), kPlugged);
  memory_->unplug_all();
  EXPECT_EQ(plugged_blocks(), 0u);
  EXPECT_EQ(resizer_.units, Units{});
  EXPECT_EQ(memory_->counters().requested_bytes, 64 * kBlock);
}

TEST_F(VirtioMemTest, RequestedSizeIsChecked) {
  EXPECT_FALSE(memory_->set_requested_size(kRegion + kBlock));
  EXPECT_FALSE(memory_->set_requested_size(kBlock - 1));
  EXPECT_FALSE(memory_->set_requested_size(~std::uint64_t{0}));
  EXPECT_EQ(memory_->counters().requested_bytes, 0u);
  EXPECT_EQ(driver_.interrupts().config_changes, 0);
  EXPECT_TRUE(memory_->set_requested_size(kRegion));
  EXPECT_EQ(memory_->counters().usable_bytes, kRegion);
}

TEST_F(VirtioMemTest, DriverThatReadsUnpluggedMemoryIsRefused) {
  driver_.reset();
  MutexLock lock(memory_->lock());
  EXPECT_FALSE(memory_->activate(
      {.features = 0, .queues = driver_.queues(), .interrupts = driver_.interrupts()}));
  EXPECT_TRUE(memory_->activate({.features = memory_->offered_features(),
                                 .queues = driver_.queues(),
                                 .interrupts = driver_.interrupts()}));
}

TEST_F(VirtioMemTest, BrokenRequestsBreakTheDevice) {
  request_blocks(64);
  const MemoryRequest plug{.type = kPlug, .addr = kBase.value(), .nb_blocks = 1};
  const auto broken = [&](TestDriver::SegmentList readable, TestDriver::SegmentList writable) {
    driver_.add(0, readable, writable);
    const bool refused = !driver_.ring(0);
    driver_.reset();
    EXPECT_TRUE(driver_.start(*memory_));
    return refused;
  };
  DmaSegment whole = driver_.put_value(plug);
  EXPECT_TRUE(broken({DmaSegment{whole.address, 23}}, {driver_.allocate(10)}));
  whole = driver_.put_value(plug);
  EXPECT_TRUE(broken({whole}, {}));
  whole = driver_.put_value(plug);
  EXPECT_TRUE(broken({whole}, {driver_.allocate(9)}));
  whole = driver_.put_value(plug);
  EXPECT_TRUE(broken({}, {driver_.allocate(64)}));
  EXPECT_TRUE(
      broken({DmaSegment{DmaAddr(TestDriver::kMemorySize - 8), 24}}, {driver_.allocate(10)}));
  EXPECT_EQ(resizer_.calls, 0);
  // Done, but nobody can be told: the device and its model still agree.
  whole = driver_.put_value(plug);
  EXPECT_TRUE(broken({whole}, {DmaSegment{DmaAddr(TestDriver::kMemorySize - 4), 10}}));
  EXPECT_EQ(plugged_blocks(), resizer_.units.size());
}

TEST_F(VirtioMemTest, RequestInPieces) {
  request_blocks(64);
  const DmaSegment whole =
      driver_.put_value(MemoryRequest{.type = kPlug, .addr = kBase.value(), .nb_blocks = 7});
  const DmaSegment answer = driver_.allocate(64);
  driver_.add(0,
              {DmaSegment{whole.address, 1}, DmaSegment{whole.address + 1, 8},
               DmaSegment{whole.address + 9, 15}},
              {DmaSegment{answer.address, 3}, DmaSegment{answer.address + 3, 61}});
  ASSERT_TRUE(driver_.ring(0));
  EXPECT_EQ(driver_.take_used(0)->length, 10u);
  EXPECT_EQ(driver_.get_value<std::uint16_t>(answer), kAck);
  EXPECT_EQ(plugged_blocks(), 7u);
}

TEST_F(VirtioMemTest, SaveAndRestore) {
  request_blocks(3 * kUnitBlocks);
  EXPECT_EQ(ask(kPlug, 60, 100), kAck);
  EXPECT_EQ(ask(kUnplug, 64, 64), kAck);
  const std::vector<std::byte> state = state_of(*memory_);
  FakeResizer host(kBase);
  auto other = VirtioMem::create({kBase, kRegion}, driver_.space(), *loop_, host).value();
  for (std::size_t length = 0; length < state.size(); ++length) {
    EXPECT_FALSE(restore_state(*other, std::span(state).first(length)));
  }
  EXPECT_EQ(host.calls, 0);
  ASSERT_TRUE(restore_state(*other, state));
  EXPECT_EQ(host.units, (Units{0, 2}));
  EXPECT_EQ(other->counters().plugged_bytes, 36 * kBlock);
  EXPECT_EQ(other->counters().requested_bytes, 3 * kGrowthUnit);
  EXPECT_EQ(state_of(*other), state);
}

TEST_F(VirtioMemTest, RestoreRefusesAnotherRegionAndAnExhaustedHost) {
  request_blocks(64);
  EXPECT_EQ(ask(kPlug, 0, 10), kAck);
  const std::vector<std::byte> state = state_of(*memory_);
  for (const std::size_t field : {0UL, 4UL, 12UL, 20UL}) {  // version, address, size, requested
    std::vector<std::byte> bad = state;
    bad[field + 3] = std::byte{0xff};
    EXPECT_FALSE(restore_state(*memory_, bad)) << field;
  }
  FakeResizer host(kBase);
  host.limit = 0;
  auto other = VirtioMem::create({kBase, kRegion}, driver_.space(), *loop_, host).value();
  EXPECT_FALSE(restore_state(*other, state));
  EXPECT_EQ(other->counters().plugged_bytes, 0u);
  host.limit = 1;
  EXPECT_TRUE(restore_state(*other, state));
}

// Against a set of blocks that knows nothing of words and bits.
TEST_F(VirtioMemTest, RandomRequestsAgreeWithAModel) {
  std::mt19937 random(20260);
  std::set<std::uint64_t> model;
  std::uint64_t requested = 0;
  std::map<std::uint16_t, int> answers;
  const std::uint64_t blocks = kRegion / kBlock;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 16 == 0) {
      requested = random() % (blocks + 1);
      request_blocks(requested);
    }
    resizer_.limit = random() % 8 == 0 ? random() % kUnits : kUnits;
    const Type type = random() % 500 == 0 ? kUnplugAll : random() % 5 < 3 ? kPlug : kUnplug;
    const std::uint64_t first = random() % (blocks + 2);
    const std::uint64_t count = random() % (random() % 4 == 0 ? 100 : 6);
    const std::uint64_t before = model.size();
    const std::uint16_t answer = ask(type, first, count);
    ++answers[answer];
    std::uint64_t in_model = 0;
    for (std::uint64_t b = first; b < first + count; ++b) in_model += model.count(b);
    if (type == kUnplugAll) {
      ASSERT_EQ(answer, kAck);
      model.clear();
    } else if (count == 0 || first + count > blocks || in_model != (type == kPlug ? 0 : count)) {
      ASSERT_EQ(answer, kError);
    } else if (type == kPlug && before + count > requested) {
      ASSERT_EQ(answer, kNack);
    } else if (type == kPlug && answer != kAck) {
      ASSERT_EQ(answer, kBusy);
    } else {
      ASSERT_EQ(answer, kAck);
      for (std::uint64_t b = first; b < first + count; ++b) {
        if (type == kPlug) model.insert(b);
        if (type == kUnplug) model.erase(b);
      }
    }
    Units units;
    for (const std::uint64_t block : model) units.insert(block / kUnitBlocks);
    ASSERT_EQ(resizer_.units, units);
    ASSERT_EQ(memory_->counters().units, units.size());
    ASSERT_EQ(plugged_blocks(), model.size());
    ASSERT_LE(model.size(), std::max(before, requested));
  }
  for (const Answer answer : {kAck, kNack, kBusy, kError}) EXPECT_GT(answers[answer], 100);
}

TEST(VirtioMem, RefusesRegionsThatAreNoWholeUnits) {
  TestDriver driver;
  auto loop = EventLoop::create().value();
  FakeResizer host(kBase);
  const auto accepted = [&](std::uint64_t base, std::uint64_t size) {
    return VirtioMem::create({Gpa(base), size}, driver.space(), *loop, host).has_value();
  };
  EXPECT_FALSE(accepted(4 * kGiB + kBlock, kGiB));
  EXPECT_FALSE(accepted(4 * kGiB, kGiB + kBlock));
  EXPECT_FALSE(accepted(4 * kGiB, 0));
  EXPECT_FALSE(accepted(4 * kGiB, VirtioMem::kMaxRegion + kGrowthUnit));
  EXPECT_FALSE(accepted(std::uint64_t{0} - kGrowthUnit, 2 * kGrowthUnit));
  EXPECT_TRUE(accepted(4 * kGiB, VirtioMem::kMaxRegion));
}

}  // namespace
}  // namespace bulkhead
