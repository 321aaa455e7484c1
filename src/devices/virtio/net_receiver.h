// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "devices/virtio/net_backend.h"
#include "devices/virtio/queue.h"
#include "mem/dma_space.h"

namespace bulkhead {

// Moves frames from a backend into the driver's buffers. With mergeable buffers a frame may take
// several chains (virtio 1.2 §5.1.6.4): then enough of them are gathered before its size is known,
// read into with one system call, and what the frame did not need is used for the next one.
class NetReceiver {
 public:
  enum class Outcome : std::uint8_t {
    kIdle,     // no more frames
    kMore,     // there may be more: call again
    kStarved,  // a frame waits, or may, and the driver has to offer buffers first; it will ring
    kClosed,   // the backend is closed
  };

  NetReceiver(const DmaSpace& space, NetBackend& backend) : space_(space), backend_(backend) {}

  // Receives a batch. No chain stays in hand afterwards, so the queue can be saved at any time.
  // Interrupting the driver is the caller's business.
  Result<Outcome> run(VirtQueue& queue, std::uint64_t features);
  // Frames that no buffer of the driver could have held.
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr unsigned kMaxFrames = 64;  // per call
  static constexpr std::size_t kMaxSegments = 2 * std::size_t{kMaxQueueSize};

  // A chain in hand: its segments lie behind those of the chain before.
  struct Buffer {
    std::uint16_t head = 0;
    std::uint16_t segments = 0;
    std::uint64_t room = 0;
  };
  enum class Gathered : std::uint8_t {
    kEnough,
    kStarved,  // the driver offered too little
    kFull,     // no more can be taken into hand, whatever the driver offers
  };

  Result<Outcome> receive_batch(VirtQueue& queue, std::uint64_t features);
  // At most one frame.
  Result<Outcome> receive_one(VirtQueue& queue, std::uint64_t features);
  Result<Outcome> make_room(VirtQueue& queue, std::uint64_t features, std::size_t size);
  // Takes chains until `room` bytes are in hand.
  Result<Gathered> gather(VirtQueue& queue, std::uint64_t features, std::size_t room);
  // Takes chain_ into hand; false when there is no place for its segments.
  Result<bool> take();
  // Gives the driver a frame of `size` bytes that lies in the buffers in hand.
  Result<Outcome> finish(VirtQueue& queue, std::uint64_t features, std::size_t size);
  Result<void> complete_header(std::uint64_t features, std::uint16_t num_buffers);
  std::size_t in_hand() const { return buffer_count_ - first_buffer_; }
  std::span<const DmaSegment> segments(std::size_t count) const {
    return {segments_.data() + first_segment_, count};
  }
  void compact();
  void forget(std::size_t buffers);
  void put_back(VirtQueue& queue);

  const DmaSpace& space_;
  NetBackend& backend_;
  // In hand are [first, count), in the order of the queue; room_ is the sum of theirs.
  std::size_t first_buffer_ = 0;
  std::size_t buffer_count_ = 0;
  std::size_t first_segment_ = 0;
  std::size_t segment_count_ = 0;
  std::uint64_t room_ = 0;
  std::array<Buffer, kMaxQueueSize> buffers_;
  std::array<DmaSegment, kMaxSegments> segments_;
  DescriptorChain chain_;
  std::uint64_t dropped_ = 0;
};

}  // namespace bulkhead
