// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue.h"

#include <atomic>
#include <bit>

#include "devices/virtio/spec.h"

namespace bulkhead {
namespace {

// virtio 1.2 §2.7.5: one entry of a descriptor table.
struct Descriptor {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint16_t flags = 0;
  std::uint16_t next = 0;
};
static_assert(sizeof(Descriptor) == 16);

constexpr std::uint16_t kDescNext = 1;
constexpr std::uint16_t kDescWrite = 2;
constexpr std::uint16_t kDescIndirect = 4;

// virtio 1.2 §2.7.6: flags, idx, ring[size], used_event
constexpr std::uint64_t kAvailableIndex = 2;
constexpr std::uint64_t kAvailableRing = 4;
constexpr std::uint16_t kAvailNoInterrupt = 1;

// virtio 1.2 §2.7.8: flags, idx, ring[size], avail_event
struct UsedElement {
  std::uint32_t id = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(UsedElement) == 8);
constexpr std::uint64_t kUsedIndex = 2;
constexpr std::uint64_t kUsedRing = 4;
constexpr std::uint16_t kUsedNoNotify = 1;

// virtio 1.2 §2.7.5.2: no chain holds more bytes than that.
constexpr std::uint64_t kMaxChainBytes = std::uint64_t{1} << 32;

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

// Differences of ring positions count modulo 2^16.
constexpr std::uint16_t distance(std::uint16_t from, std::uint16_t to) {
  return static_cast<std::uint16_t>(to - from);
}

DmaAddr used_event(const VirtQueue::Layout& layout) {
  return layout.available + kAvailableRing + std::uint64_t{2} * layout.size;
}
DmaAddr avail_event(const VirtQueue::Layout& layout) {
  return layout.used + kUsedRing + std::uint64_t{8} * layout.size;
}

struct Part {
  DmaAddr address;
  std::uint32_t length = 0;
  std::uint64_t alignment = 1;
  DmaAccess access = DmaAccess::kRead;
};

bool usable(const DmaSpace& space, const Part& part) {
  if (part.address.value() % part.alignment != 0) return false;
  if (part.length > ~std::uint64_t{0} - part.address.value()) return false;
  return space.reachable({part.address, part.length}, part.access);
}

// Where descriptors are read from: the queue's table, or an indirect one.
struct Table {
  DmaAddr base;
  std::uint32_t count = 0;
  bool indirect = false;
};

Result<Descriptor> fetch(const DmaSpace& space, const Table& table, std::uint16_t index) {
  if (index >= table.count) return malformed("a descriptor's index is outside of its table");
  Descriptor copy;
  TRY(space.read(table.base + index * sizeof(Descriptor),
                 std::as_writable_bytes(std::span(&copy, 1))));
  return copy;
}

// virtio 1.2 §2.7.5.3
Result<Table> indirect_table(const Descriptor& descriptor, const Table& current) {
  if (current.indirect) return malformed("an indirect descriptor in an indirect table");
  if ((descriptor.flags & kDescNext) != 0) return malformed("a descriptor indirect and chained");
  if (descriptor.length == 0 || descriptor.length % sizeof(Descriptor) != 0) {
    return malformed("an indirect table of a wrong length");
  }
  const auto count = static_cast<std::uint32_t>(descriptor.length / sizeof(Descriptor));
  return Table{DmaAddr(descriptor.address), count, true};
}

}  // namespace

VirtQueue::VirtQueue(const DmaSpace& space, const Layout& layout, std::uint64_t features)
    : space_(&space),
      layout_(layout),
      indirect_((features & virtio::kFeatureIndirectDesc) != 0),
      event_index_((features & virtio::kFeatureEventIndex) != 0) {}

Result<VirtQueue> VirtQueue::create(const DmaSpace& space, const Layout& layout,
                                    std::uint64_t features) {
  if (!std::has_single_bit(layout.size) || layout.size > kMaxQueueSize) {
    return Error{Errc::kInvalidArgument, 0, "a queue's size is not a power of two up to 256"};
  }
  // virtio 1.2 §2.7: sizes and alignments of the three parts.
  const std::uint32_t size = layout.size;
  const Part parts[] = {
      {layout.descriptors, 16 * size, 16, DmaAccess::kRead},
      {layout.available, 6 + 2 * size, 2, DmaAccess::kRead},
      {layout.used, 6 + 8 * size, 4, DmaAccess::kWrite},
  };
  for (const Part& part : parts) {
    if (!usable(space, part)) {
      return Error{Errc::kOutOfRange, 0, "a part of a queue is misaligned or not in RAM"};
    }
  }
  return VirtQueue(space, layout, features);
}

// A queue that the driver did not set up is empty, and wants nothing.
Result<std::uint16_t> VirtQueue::pending() const {
  if (!enabled()) return 0;
  const std::uint16_t index = TRY(space_->load<std::uint16_t>(layout_.available + kAvailableIndex));
  const std::uint16_t count = distance(next_available_, index);
  if (count > layout_.size) return malformed("more requests than the queue can hold");
  return count;
}

Result<bool> VirtQueue::pop(DescriptorChain& chain) {
  if (TRY(pending()) == 0) return false;
  const std::uint64_t slot = next_available_ % layout_.size;
  const std::uint16_t head =
      TRY(space_->load<std::uint16_t>(layout_.available + kAvailableRing + 2 * slot));
  TRY(collect(head, chain));
  ++next_available_;
  return true;
}

// Each descriptor is fetched once, and the copy is what counts: the driver may change it meanwhile.
// Every round adds a segment, except the one that enters an indirect table, and a chain has at
// most as many segments as the queue has entries: so loops end.
Result<void> VirtQueue::collect(std::uint16_t head, DescriptorChain& chain) const {
  chain.head_ = head;
  chain.count_ = 0;
  chain.readable_ = 0;
  Table table{layout_.descriptors, layout_.size, false};
  std::uint16_t index = head;
  std::uint64_t total = 0;
  while (true) {
    const Descriptor descriptor = TRY(fetch(*space_, table, index));
    if ((descriptor.flags & kDescIndirect) != 0) {
      if (!indirect_) return malformed("an indirect descriptor that was not negotiated");
      table = TRY(indirect_table(descriptor, table));
      index = 0;
      continue;
    }
    if (chain.count_ == layout_.size) return malformed("a chain longer than its queue");
    const bool writable = (descriptor.flags & kDescWrite) != 0;
    if (!writable && chain.readable_ != chain.count_) {
      return malformed("a readable descriptor after a writable one");
    }
    total += descriptor.length;
    if (total > kMaxChainBytes) return malformed("a chain of more than 4 GiB");
    chain.segments_[chain.count_++] = {DmaAddr(descriptor.address), descriptor.length};
    if (!writable) ++chain.readable_;
    if ((descriptor.flags & kDescNext) == 0) return {};
    index = descriptor.next;
  }
}

void VirtQueue::unpop() {
  --next_available_;
}

Result<void> VirtQueue::push(std::uint16_t head, std::uint32_t written) {
  const Used one{head, written};
  return push(std::span(&one, 1));
}

Result<void> VirtQueue::push(std::span<const Used> batch) {
  std::uint16_t next = next_used_;
  for (const Used& used : batch) {
    if (used.head >= layout_.size) return malformed("a request's number is outside of its queue");
    const UsedElement element{used.head, used.written};
    const std::uint64_t slot = next % layout_.size;
    TRY(space_->write(layout_.used + kUsedRing + slot * sizeof element,
                      std::as_bytes(std::span(&element, 1))));
    ++next;
  }
  // The release in store() makes the elements visible before the index that covers them.
  TRY(space_->store<std::uint16_t>(layout_.used + kUsedIndex, next));
  next_used_ = next;
  return {};
}

Result<bool> VirtQueue::wants_interrupt() {
  if (!enabled()) return false;
  const std::uint16_t added = distance(signalled_used_, next_used_);
  signalled_used_ = next_used_;
  // Our store of the used index and the driver's of its wish pass each other otherwise: either we
  // see the wish, or the driver sees the index (virtio 1.2 §2.7.7.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (event_index_) {
    const std::uint16_t event = TRY(space_->load<std::uint16_t>(used_event(layout_)));
    // virtio 1.2 §2.7.10: whether the index moved past `event` since last time.
    return static_cast<std::uint16_t>(next_used_ - event - 1) < added;
  }
  const std::uint16_t flags = TRY(space_->load<std::uint16_t>(layout_.available));
  return added != 0 && (flags & kAvailNoInterrupt) == 0;
}

Result<bool> VirtQueue::enable_doorbell() {
  if (!enabled()) return false;
  if (event_index_) {
    TRY(space_->store<std::uint16_t>(avail_event(layout_), next_available_));
  } else {
    TRY(space_->store<std::uint16_t>(layout_.used, 0));
  }
  // The same race as in wants_interrupt(), from the other side.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return TRY(pending()) != 0;
}

Result<void> VirtQueue::disable_doorbell() {
  // With event indices the flags stay 0, and the driver does not ring until its index passes
  // avail_event, which stays behind while the device works (virtio 1.2 §2.7.10).
  if (event_index_ || !enabled()) return {};
  return space_->store<std::uint16_t>(layout_.used, kUsedNoNotify);
}

void VirtQueue::save(StateWriter& writer) const {
  writer.put(next_available_);
  writer.put(next_used_);
  writer.put(signalled_used_);
}

Result<void> VirtQueue::restore(StateReader& reader) {
  const auto available = TRY(reader.get<std::uint16_t>());
  const auto used = TRY(reader.get<std::uint16_t>());
  const auto signalled = TRY(reader.get<std::uint16_t>());
  // No more requests can be under way than the queue holds.
  if (distance(used, available) > layout_.size) {
    return malformed("a saved queue's positions contradict each other");
  }
  next_available_ = available;
  next_used_ = used;
  signalled_used_ = signalled;
  return {};
}

}  // namespace bulkhead
