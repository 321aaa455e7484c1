// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/block.h"

#include <sched.h>
#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "devices/virtio/queue_service.h"

namespace bulkhead {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::size_t kBatch = 32;
// A pass is charged at least this much, so that lingering ends and other devices get their turn.
constexpr std::uint32_t kPassCost = 16;

virtio::BlockConfig make_config(const BlockDisk& disk, std::uint16_t queues) {
  const BlockLimits& limits = disk.limits();
  const DiskShape& shape = disk.shape();
  const std::uint32_t block = shape.logical_block;
  virtio::BlockConfig config;
  config.capacity = limits.capacity_bytes / virtio::kSectorSize;
  config.size_max = BlockLimits::kMaxSegmentBytes;
  config.seg_max = BlockLimits::kMaxSegments;
  config.blk_size = block;
  config.physical_block_exp =
      static_cast<std::uint8_t>(std::countr_zero(std::bit_floor(shape.physical_block / block)));
  config.min_io_size = static_cast<std::uint16_t>(1U << config.physical_block_exp);
  config.opt_io_size = shape.optimal_io / block;
  config.num_queues = queues;
  if (limits.can_discard) {
    config.max_discard_sectors = BlockLimits::kMaxDiscardSectors;
    config.max_discard_seg = BlockLimits::kMaxRanges;
    config.discard_sector_alignment =
        static_cast<std::uint32_t>(shape.physical_block / virtio::kSectorSize);
    config.max_write_zeroes_sectors = BlockLimits::kMaxZeroSectors;
    config.max_write_zeroes_seg = BlockLimits::kMaxRanges;
    config.write_zeroes_may_unmap = 1;
  }
  return config;
}

constexpr std::uint32_t bit(std::uint16_t queue_index) {
  return 1U << queue_index;
}

}  // namespace

VirtioBlock::VirtioBlock(BlockDisk disk, const BlockOptions& options, const DmaSpace& space,
                         RequestPool pool)
    : space_(space),
      disk_(std::move(disk)),
      id_(options.id),
      linger_(options.linger),
      queue_sizes_(options.queues, kMaxQueueSize),
      config_(make_config(disk_, options.queues)),
      pool_(std::move(pool)) {}

VirtioBlock::~VirtioBlock() = default;

Result<std::unique_ptr<VirtioBlock>> VirtioBlock::create(BlockOptions options,
                                                         const DmaSpace& space, EventLoop& loop) {
  if (options.queues == 0 || options.queues > kMaxQueues) {
    return Error{Errc::kInvalidArgument, 0, "a disk has from 1 to 16 queues"};
  }
  if (options.id.size() > virtio::kBlockIdBytes) {
    return Error{Errc::kInvalidArgument, 0, "a disk's id has at most 20 bytes"};
  }
  BlockDisk disk = TRY(BlockDisk::create({.file = std::move(options.file),
                                          .read_only = options.read_only,
                                          .discard = options.discard,
                                          .logical_block = options.block_size}));
  RequestPool pool = TRY(RequestPool::create());
  std::unique_ptr<VirtioBlock> device(
      new VirtioBlock(std::move(disk), options, space, std::move(pool)));
  TRY(device->connect(std::move(options.engine), loop));
  return device;
}

Result<void> VirtioBlock::connect(std::unique_ptr<IoEngine> engine, EventLoop& loop) {
  constexpr std::uint32_t kEntries = RequestPool::kSize;
  ring_ = engine != nullptr ? std::make_unique<IoRing>(std::move(engine), kEntries)
                            : TRY(IoRing::create({.file = disk_.fd(), .entries = kEntries}));
  again_ = TRY(Fd::event());
  completions_watch_ = TRY(Watch::create(loop, ring_->event_fd(), EPOLLIN, completions_handler_));
  again_watch_ = TRY(Watch::create(loop, again_.get(), EPOLLIN, again_handler_));
  return {};
}

std::uint64_t VirtioBlock::offered_features() const {
  std::uint64_t features = virtio::kBlockSizeMax | virtio::kBlockSegMax | virtio::kBlockBlkSize |
                           virtio::kBlockFlush | virtio::kBlockTopology;
  if (queue_sizes_.size() > 1) features |= virtio::kBlockMultiQueue;
  if (disk_.limits().read_only) features |= virtio::kBlockReadOnly;
  if (disk_.limits().can_discard) features |= virtio::kBlockDiscard | virtio::kBlockWriteZeroes;
  return features;
}

void VirtioBlock::read_config(std::uint64_t offset, std::span<std::byte> bytes) {
  copy_config(std::as_bytes(std::span(&config_, 1)), offset, bytes);
}

// Nothing in it is the driver's to change: the cache's mode is not offered (CONFIG_WCE).
void VirtioBlock::write_config(std::uint64_t, std::span<const std::byte>) {}

Result<void> VirtioBlock::activate(const VirtioActivation& activation) {
  if (activation.queues.size() > queue_sizes_.size()) {
    return Error{Errc::kInvalidArgument, 0, "more queues than the disk has"};
  }
  active_.emplace(activation);
  // virtio 1.2 §5.2.6.2: without FLUSH, a completed write is a stable write.
  durable_ = (activation.features & virtio::kBlockFlush) == 0;
  return {};
}

void VirtioBlock::reset() {
  ring_->cancel_all();
  pool_.release_all();
  active_.reset();
  durable_ = false;
  broken_ = false;
  waiting_ = 0;
  used_ = 0;
}

Result<void> VirtioBlock::quiesce() {
  while (ring_->in_flight() > 0) {
    if (const Result<void> done = complete(); !done) give_up(done.error());
    if (ring_->in_flight() > 0) ring_->wait();
  }
  return {};
}

void VirtioBlock::save(StateWriter& writer) const {
  CHECK(ring_->in_flight() == 0);
  writer.put(kStateVersion);
  writer.put(config_.capacity);
  writer.put(config_.num_queues);
}

Result<void> VirtioBlock::restore(StateReader& reader) {
  if (TRY(reader.get<std::uint16_t>()) != kStateVersion) {
    return Error{Errc::kUnsupported, 0, "a disk's state of an unknown version"};
  }
  if (TRY(reader.get<std::uint64_t>()) != config_.capacity) {
    return Error{Errc::kInvalidArgument, 0, "the disk's size is not the one that was saved"};
  }
  if (TRY(reader.get<std::uint16_t>()) != config_.num_queues) {
    return Error{Errc::kInvalidArgument, 0, "the disk's queues are not those that were saved"};
  }
  return {};
}

void VirtioBlock::Handler::on_ready(std::uint32_t) {
  MutexLock lock(device_.lock());
  const Result<void> result = (device_.*method_)();
  if (!result) device_.give_up(result.error());
}

void VirtioBlock::give_up(const Error& error) {
  broken_ = true;
  if (!active_) return;
  active_->interrupts.needs_reset();
  if (error_lines_.allow()) log_failure("block.driver_error", error, {{"disk", id_}});
}

Result<void> VirtioBlock::on_completions() {
  TRY(complete());
  return serve_waiting();
}

Result<void> VirtioBlock::on_again() {
  drain_event(again_.get());
  return serve_waiting();
}

Result<void> VirtioBlock::serve_waiting() {
  std::uint32_t left = waiting_;
  while (left != 0) {
    TRY(serve(static_cast<std::uint16_t>(std::countr_zero(left))));
    left &= left - 1;
  }
  return {};
}

Result<void> VirtioBlock::process_queue(std::uint16_t queue_index) {
  lingers_ = Clock::now() - idle_since_ < linger_;
  const Result<void> served = serve(queue_index);
  idle_since_ = Clock::now();
  if (!served) broken_ = true;
  return served;
}

Result<void> VirtioBlock::serve(std::uint16_t queue_index) {
  if (!active_ || broken_ || queue_index >= active_->queues.size()) return {};
  waiting_ &= ~bit(queue_index);
  VirtQueue& queue = active_->queues[queue_index];
  if (!queue.enabled()) return {};
  // Also counts the passes that find nothing: a driver could make those endless.
  std::uint32_t budget = queue.size();
  bool more = true;
  while (more && budget > 0) {
    TRY(queue.disable_doorbell());
    const std::uint32_t taken = TRY(take_requests(queue_index, budget));
    // Many are done by then: what the page cache holds is read within the submission.
    TRY(complete());
    budget -= std::min(budget, std::max(taken, kPassCost));
    if (pool_.empty()) break;
    more = TRY(linger(queue)) || TRY(queue.enable_doorbell());
  }
  if (!more) return {};
  waiting_ |= bit(queue_index);
  // With the pool empty, completions are what brings us back.
  if (!pool_.empty()) signal_event(again_.get());
  return {};
}

// A driver whose doorbell came soon after we were done will have its next request soon, too:
// looking for it a little longer spares the doorbell. Yielding lets the guest have this processor.
Result<bool> VirtioBlock::linger(const VirtQueue& queue) {
  const auto deadline = Clock::now() + linger_;
  while (lingers_) {
    if (TRY(queue.pending()) != 0) return true;
    lingers_ = Clock::now() < deadline;
    ::sched_yield();
    TRY(complete());
  }
  return false;
}

Result<std::uint32_t> VirtioBlock::take_requests(std::uint16_t queue_index, std::uint32_t budget) {
  VirtQueue& queue = active_->queues[queue_index];
  for (std::uint32_t taken = 0; taken < budget; ++taken) {
    BlockRequest* request = pool_.acquire();
    if (request == nullptr) return taken;
    const Result<bool> found = queue.pop(request->chain);
    if (!found || !*found) pool_.release(*request);
    if (!TRY(found)) return taken;
    request->queue = queue_index;
    TRY(accept(*request));
  }
  return budget;
}

// The driver's side is broken or gone when completions come late: they are dropped then.
Result<void> VirtioBlock::complete() {
  std::array<IoCompletion, kBatch> batch;
  std::size_t count = 0;
  do {
    ring_->submit();
    count = ring_->reap(batch);
    for (const IoCompletion& completion : std::span(batch).first(count)) {
      if (active_ && !broken_) TRY(handle(completion));
    }
    TRY(signal_used());
  } while (count > 0);
  return {};
}

Result<void> VirtioBlock::signal_used() {
  std::uint32_t left = std::exchange(used_, 0);
  for (; left != 0; left &= left - 1) {
    const auto index = static_cast<std::uint16_t>(std::countr_zero(left));
    if (TRY(active_->queues[index].wants_interrupt())) active_->interrupts.queue_used(index);
  }
  return {};
}

}  // namespace bulkhead
