// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "devices/virtio/device.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/spec.h"
#include "mem/dma_space.h"
#include "mem/guest_memory.h"

// For unit tests and fuzz targets only: the guest's side of a virtio device.

namespace bulkhead {

// Counts what a device reports.
class TestInterrupts : public VirtioInterrupts {
 public:
  void queue_used(std::uint16_t queue_index) override { ++used[queue_index]; }
  void config_changed() override { ++config_changes; }
  void needs_reset() override { ++resets_wanted; }

  std::map<std::uint16_t, int> used;
  int config_changes = 0;
  int resets_wanted = 0;
};

// A driver with 64 MiB of guest RAM. It lays out queues, adds requests (well-formed by add(),
// hostile by put_descriptor() and offer()), and collects what the device gives back.
//
//   TestDriver driver;
//   driver.start(device);                                 // features, queues, activate()
//   auto out = driver.put(request_bytes);
//   auto in = driver.allocate(512);
//   driver.add(0, {out}, {in});
//   EXPECT_TRUE(driver.ring(0));                          // process_queue() under the lock
//   EXPECT_EQ(driver.take_used(0)->length, 512u);
//   EXPECT_EQ(driver.get(in), expected_bytes);
class TestDriver {
 public:
  static constexpr std::uint64_t kMemorySize = 64 * kMiB;
  static constexpr std::uint64_t kFeatures =
      virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc;
  static constexpr std::uint16_t kDescNext = 1;
  static constexpr std::uint16_t kDescWrite = 2;
  static constexpr std::uint16_t kDescIndirect = 4;

  struct Descriptor {  // virtio 1.2 §2.7.5
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    std::uint16_t flags = 0;
    std::uint16_t next = 0;
  };
  struct Used {
    std::uint32_t id = 0;
    std::uint32_t length = 0;
  };
  struct Options {
    std::uint16_t queue_size = 0;  // of every queue; 0: what the device offers, at most 16
    std::uint64_t features = 0;    // negotiated besides kFeatures and all that the device offers
  };

  explicit TestDriver(const DmaTranslator* translator = nullptr)
      : memory_(GuestMemory::create({.size_bytes = kMemorySize}).value()),
        space_(*memory_, translator) {}

  GuestMemory& memory() { return *memory_; }
  const DmaSpace& space() const { return space_; }
  DmaSpace& space() { return space_; }
  TestInterrupts& interrupts() { return interrupts_; }
  std::span<VirtQueue> queues() { return queues_; }
  VirtQueue& queue(std::size_t index) { return queues_.at(index); }

  // Sets up all queues of the device and activates it. Forgets all buffers given out before.
  Result<void> start(VirtioDevice& device) { return start(device, Options{}); }
  Result<void> start(VirtioDevice& device, const Options& options) {
    const std::uint64_t features = kFeatures | device.offered_features() | options.features;
    std::vector<std::uint16_t> sizes;
    for (const std::uint16_t maximum : device.queue_sizes()) {
      sizes.push_back(options.queue_size != 0 ? options.queue_size
                                              : std::min<std::uint16_t>(maximum, 16));
    }
    layout(sizes, features);
    device_ = &device;
    MutexLock lock(device.lock());
    return device.activate({features, queues_, interrupts_});
  }
  // Only the queues, without a device.
  void layout(std::span<const std::uint16_t> sizes, std::uint64_t features) {
    CHECK(sizes.size() <= kMaxQueues);
    queues_.clear();
    rings_.clear();
    next_free_ = kBufferBase;
    for (std::size_t index = 0; index < sizes.size(); ++index) {
      CHECK(memory_->zero(Gpa(place(index)), kQueueStride));
      rings_.emplace_back(sizes[index]);
      queues_.push_back(VirtQueue::create(space_, layout_of(index), features).value());
    }
  }
  VirtQueue::Layout layout_of(std::size_t index) const {
    return {rings_.at(index).size, DmaAddr(place(index)), DmaAddr(place(index) + kAvailable),
            DmaAddr(place(index) + kUsed)};
  }

  // Rings a doorbell of the device given to start().
  Result<void> ring(std::uint16_t queue_index) {
    MutexLock lock(device_->lock());
    return device_->process_queue(queue_index);
  }
  void reset() {
    MutexLock lock(device_->lock());
    device_->reset();
  }

  // Guest memory that nothing else uses; its content is whatever was there before.
  DmaSegment allocate(std::uint32_t length, std::uint64_t alignment = 16) {
    const std::uint64_t start = align_up(next_free_, alignment);
    CHECK(range_fits(start, length, kMemorySize));
    next_free_ = start + length;
    return {DmaAddr(start), length};
  }
  DmaSegment put(std::span<const std::byte> bytes) {
    const DmaSegment segment = allocate(static_cast<std::uint32_t>(bytes.size()));
    CHECK(memory_->write(Gpa(segment.address.value()), bytes));
    return segment;
  }
  DmaSegment put_text(std::string_view text) { return put(std::as_bytes(std::span(text))); }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  DmaSegment put_value(const T& value) {
    return put(std::as_bytes(std::span(&value, 1)));
  }
  std::vector<std::byte> get(const DmaSegment& segment) const {
    std::vector<std::byte> bytes(segment.length);
    CHECK(memory_->read(Gpa(segment.address.value()), bytes));
    return bytes;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  T get_value(const DmaSegment& segment) const {
    T value{};
    CHECK(segment.length >= sizeof value);
    CHECK(
        memory_->read(Gpa(segment.address.value()), std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  using Segments = std::span<const DmaSegment>;
  using SegmentList = std::initializer_list<DmaSegment>;

  // Adds a request and makes it available. Returns its head; nothing when no descriptor is free.
  std::optional<std::uint16_t> add(std::uint16_t queue_index, Segments readable,
                                   Segments writable) {
    Ring& ring = rings_.at(queue_index);
    std::vector<Descriptor> chain = describe(readable, writable);
    CHECK(!chain.empty());
    std::vector<std::uint16_t> places = ring.take(chain.size());
    if (places.empty()) return std::nullopt;
    for (std::size_t i = 0; i < chain.size(); ++i) {
      if (i + 1 < chain.size()) chain[i].next = places[i + 1];
      put_descriptor(queue_index, places[i], chain[i]);
    }
    const std::uint16_t head = places.front();
    ring.chains[head] = std::move(places);
    offer(queue_index, head);
    return head;
  }
  std::optional<std::uint16_t> add(std::uint16_t queue_index, SegmentList readable,
                                   SegmentList writable) {
    return add(queue_index, Segments(readable), Segments(writable));
  }
  // The same by way of an indirect table.
  std::optional<std::uint16_t> add_indirect(std::uint16_t queue_index, SegmentList readable,
                                            SegmentList writable) {
    Ring& ring = rings_.at(queue_index);
    std::vector<Descriptor> chain = describe(Segments(readable), Segments(writable));
    for (std::size_t i = 0; i + 1 < chain.size(); ++i)
      chain[i].next = static_cast<std::uint16_t>(i + 1);
    std::vector<std::uint16_t> places = ring.take(1);
    if (places.empty()) return std::nullopt;
    const DmaSegment table = put(std::as_bytes(std::span(chain)));
    const std::uint16_t head = places.front();
    put_descriptor(queue_index, head, {table.address.value(), table.length, kDescIndirect, 0});
    ring.chains[head] = std::move(places);
    offer(queue_index, head);
    return head;
  }

  // Raw: writes an entry of the descriptor table, as it is.
  void put_descriptor(std::uint16_t queue_index, std::uint16_t index, const Descriptor& value) {
    CHECK(memory_->write(Gpa(place(queue_index) + std::uint64_t{16} * index),
                         std::as_bytes(std::span(&value, 1))));
  }
  // Raw: makes any head available.
  void offer(std::uint16_t queue_index, std::uint16_t head) {
    Ring& ring = rings_.at(queue_index);
    store(available(queue_index) + 4 + std::uint64_t{2} * (ring.available % ring.size), head);
    set_available_index(queue_index, static_cast<std::uint16_t>(ring.available + 1));
  }
  // Raw: also where the index does not belong.
  void set_available_index(std::uint16_t queue_index, std::uint16_t value) {
    rings_.at(queue_index).available = value;
    store(available(queue_index) + 2, value);
  }
  // Without event indices: VIRTQ_AVAIL_F_NO_INTERRUPT and VIRTQ_USED_F_NO_NOTIFY.
  void set_no_interrupt(std::uint16_t queue_index, bool on) {
    store(available(queue_index), static_cast<std::uint16_t>(on ? 1 : 0));
  }
  bool doorbell_wanted(std::uint16_t queue_index) const {
    return (load(used(queue_index)) & 1) == 0;
  }
  // With event indices: the driver's wish and the device's.
  void set_used_event(std::uint16_t queue_index, std::uint16_t value) {
    store(available(queue_index) + 4 + std::uint64_t{2} * rings_.at(queue_index).size, value);
  }
  std::uint16_t avail_event(std::uint16_t queue_index) const {
    return load(used(queue_index) + 4 + std::uint64_t{8} * rings_.at(queue_index).size);
  }
  std::uint16_t used_index(std::uint16_t queue_index) const { return load(used(queue_index) + 2); }

  // The next request that the device gave back.
  std::optional<Used> take_used(std::uint16_t queue_index) {
    Ring& ring = rings_.at(queue_index);
    if (used_index(queue_index) == ring.seen) return std::nullopt;
    const std::uint64_t slot = ring.seen % ring.size;
    const Used entry = get_value<Used>({DmaAddr(used(queue_index) + 4 + 8 * slot), sizeof(Used)});
    ++ring.seen;
    ring.give_back(entry.id);
    return entry;
  }

 private:
  static constexpr std::uint64_t kQueueBase = 1 * kMiB;
  static constexpr std::uint64_t kQueueStride = 16 * kKiB;
  static constexpr std::uint64_t kAvailable = 8 * kKiB;
  static constexpr std::uint64_t kUsed = 12 * kKiB;
  static constexpr std::uint64_t kBufferBase = 4 * kMiB;
  static constexpr std::size_t kMaxQueues = (kBufferBase - kQueueBase) / kQueueStride;

  struct Ring {
    explicit Ring(std::uint16_t count) : size(count) {
      for (std::uint16_t i = count; i > 0; --i) free.push_back(static_cast<std::uint16_t>(i - 1));
    }
    std::vector<std::uint16_t> take(std::size_t count) {
      std::vector<std::uint16_t> taken;
      if (count > free.size()) return taken;
      for (; count > 0; --count) {
        taken.push_back(free.back());
        free.pop_back();
      }
      return taken;
    }
    void give_back(std::uint32_t head) {
      auto chain = chains.find(head);
      if (chain == chains.end()) return;
      free.insert(free.end(), chain->second.rbegin(), chain->second.rend());
      chains.erase(chain);
    }

    std::uint16_t size;
    std::uint16_t available = 0;
    std::uint16_t seen = 0;
    std::vector<std::uint16_t> free;
    std::map<std::uint32_t, std::vector<std::uint16_t>> chains;
  };

  static std::vector<Descriptor> describe(Segments readable, Segments writable) {
    std::vector<Descriptor> chain;
    for (const DmaSegment& s : readable) chain.push_back({s.address.value(), s.length, kDescNext});
    for (const DmaSegment& s : writable) {
      chain.push_back({s.address.value(), s.length, kDescNext | kDescWrite});
    }
    if (!chain.empty()) chain.back().flags &= kDescWrite;
    return chain;
  }
  static std::uint64_t place(std::size_t queue_index) {
    return kQueueBase + queue_index * kQueueStride;
  }
  static std::uint64_t available(std::size_t index) { return place(index) + kAvailable; }
  static std::uint64_t used(std::size_t index) { return place(index) + kUsed; }
  void store(std::uint64_t address, std::uint16_t value) {
    CHECK(memory_->store<std::uint16_t>(Gpa(address), value));
  }
  std::uint16_t load(std::uint64_t address) const {
    return memory_->load<std::uint16_t>(Gpa(address)).value();
  }

  std::unique_ptr<GuestMemory> memory_;
  DmaSpace space_;
  TestInterrupts interrupts_;
  std::vector<Ring> rings_;
  std::vector<VirtQueue> queues_;
  std::uint64_t next_free_ = kBufferBase;
  VirtioDevice* device_ = nullptr;
};

}  // namespace bulkhead
