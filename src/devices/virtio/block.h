// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/virtio/block_disk.h"
#include "devices/virtio/block_pool.h"
#include "devices/virtio/block_request.h"
#include "devices/virtio/block_spec.h"
#include "devices/virtio/device.h"
#include "mem/io_ring.h"

namespace bulkhead {

struct BlockOptions {
  Fd file;  // a regular file or a block device; its locks and flags (O_DIRECT) are the opener's
  bool read_only = false;
  std::string id = {};           // what GET_ID answers: at most 20 bytes
  std::uint16_t queues = 1;      // 1 .. VirtioBlock::kMaxQueues
  std::uint32_t block_size = 0;  // 512 or 4096; 0: as the host's
  bool discard = true;           // the guest may give the file's space back
  // How long to look for a busy driver's next request: about what a doorbell costs, with the
  // guest's exit and the waking of our thread. QEMU's I/O threads poll as long. 0: not at all.
  std::chrono::microseconds linger{32};
  std::unique_ptr<IoEngine> engine = {};  // instead of the host's best: tests inject faults with it
};

// A virtio block device (virtio 1.2 §5.2). Requests go to the host's kernel in batches, at most
// RequestPool::kSize at a time, and their data moves between the file and guest memory without
// passing through us. The host caches writes until a FLUSH; with a driver that cannot flush, each
// write is durable when it completes.
class VirtioBlock : public VirtioDevice {
 public:
  static constexpr std::uint16_t kMaxQueues = 16;

  static Result<std::unique_ptr<VirtioBlock>> create(BlockOptions options, const DmaSpace& space,
                                                     EventLoop& loop);
  ~VirtioBlock() override;

  std::string_view name() const override { return "virtio-block"; }
  std::uint32_t device_id() const override { return virtio::kDeviceBlock; }
  std::uint64_t offered_features() const override;
  std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
  void read_config(std::uint64_t offset, std::span<std::byte> bytes) override;
  void write_config(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> activate(const VirtioActivation& activation) override;
  Result<void> process_queue(std::uint16_t queue_index) override;
  void reset() override;
  void save(StateWriter& writer) const override;
  Result<void> restore(StateReader& reader) override;

  Result<void> quiesce() override;
  std::size_t in_flight() const { return ring_->in_flight(); }

 private:
  using Clock = std::chrono::steady_clock;

  // Calls a method of the device, with its lock, when a descriptor is ready.
  class Handler : public EventHandler {
   public:
    using Method = Result<void> (VirtioBlock::*)();
    Handler(VirtioBlock& device, Method method) : device_(device), method_(method) {}
    void on_ready(std::uint32_t events) override;

   private:
    VirtioBlock& device_;
    Method method_;
  };

  VirtioBlock(BlockDisk disk, const BlockOptions& options, const DmaSpace& space, RequestPool pool);
  Result<void> connect(std::unique_ptr<IoEngine> engine, EventLoop& loop);

  // Takes new requests of a queue, at most about one queue's worth, and completes what it can.
  Result<void> serve(std::uint16_t queue_index);
  Result<std::uint32_t> take_requests(std::uint16_t queue_index, std::uint32_t budget);
  // Waits a little for the next request, if that is worth while. Returns whether one came.
  Result<bool> linger(const VirtQueue& queue);
  Result<void> serve_waiting();
  Result<void> on_completions();
  Result<void> on_again();
  // Hands queued operations over, finishes those that are done, and interrupts the driver.
  Result<void> complete();
  Result<void> signal_used();
  // The driver broke the protocol.
  void give_up(const Error& error);

  // The life of a request, in block_io.cc.
  Result<void> accept(BlockRequest& request);
  Result<void> begin(BlockRequest& request);
  Result<void> begin_write(BlockRequest& request);
  Result<void> begin_range(BlockRequest& request);
  Result<void> end_ranges(BlockRequest& request);
  Result<void> answer_id(BlockRequest& request);
  Result<void> handle(const IoCompletion& completion);
  Result<void> handle_range(BlockRequest& request, const IoCompletion& completion);
  Result<void> finish(BlockRequest& request, virtio::BlockStatus status);
  Result<void> fail(BlockRequest& request, int os_errno);
  void log_io_error(const BlockRequest& request, int os_errno);

  const DmaSpace& space_;
  BlockDisk disk_;
  const std::string id_;
  const std::chrono::microseconds linger_;
  const std::vector<std::uint16_t> queue_sizes_;
  const virtio::BlockConfig config_;
  RequestPool pool_;
  std::unique_ptr<IoRing> ring_;
  std::optional<VirtioActivation> active_;
  bool durable_ = false;          // the driver cannot flush
  bool broken_ = false;           // the driver broke the protocol: nothing more until a reset
  std::uint32_t waiting_ = 0;     // queues that may hold more requests, as bits
  std::uint32_t used_ = 0;        // queues with requests given back since the last interrupt
  bool lingers_ = false;          // while the driver is busy
  Clock::time_point idle_since_;  // when the last doorbell had been answered
  bool punch_works_ = true;
  bool zero_range_works_ = true;
  bool full_ = false;  // the host's file system had no room for the last write
  LogLimiter error_lines_;
  Fd again_;  // readable: waiting_ is to be served soon
  Handler completions_handler_{*this, &VirtioBlock::on_completions};
  Handler again_handler_{*this, &VirtioBlock::on_again};
  Watch completions_watch_;
  Watch again_watch_;
};

}  // namespace bulkhead
