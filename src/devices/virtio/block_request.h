// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "devices/virtio/block_spec.h"
#include "devices/virtio/queue.h"
#include "mem/dma_space.h"
#include "mem/io_ring.h"

namespace bulkhead {

// What a driver is told, and held to.
struct BlockLimits {
  // A request's segments times their size; what a driver that ignores both may send at most.
  static constexpr std::uint32_t kMaxSegments = kMaxQueueSize - 2;  // besides header and status
  static constexpr std::uint32_t kMaxSegmentBytes = 256 * kKiB;
  static constexpr std::uint64_t kMaxDataBytes = std::uint64_t{kMaxSegments} * kMaxSegmentBytes;
  static constexpr std::uint32_t kMaxRanges = 16;
  static constexpr std::uint32_t kMaxDiscardSectors = 1U << 22;  // 2 GiB per range
  static constexpr std::uint32_t kMaxZeroSectors = 1U << 16;     // 32 MiB: we may have to write it

  std::uint64_t capacity_bytes = 0;  // a multiple of the sector's size
  bool read_only = false;
  bool can_discard = false;  // and WRITE_ZEROES
};

// One request of a driver. Decoded, it is our copy, and within the limits.
struct BlockRequest {
  enum class Command : std::uint8_t { kRead, kWrite, kFlush, kGetId, kDiscard, kWriteZeroes };
  struct Range {
    IoRing::Range bytes;
    bool unmap = false;  // WRITE_ZEROES may give the space back
  };

  // Where the data lies in guest memory, header and status excluded.
  DmaReader data_out(const DmaSpace& space) const;
  DmaWriter data_in(const DmaSpace& space) const { return {space, chain.writable()}; }
  // Writes the status byte. Returns how many bytes, from the start of the writable part, the
  // request has filled when all of its data came (virtio 1.2 §2.7.8.2). A driver that left no
  // place for a status gets none.
  std::uint32_t answer(const DmaSpace& space, virtio::BlockStatus status) const;

  // How a range is zeroed: the best way that the disk has not refused yet.
  enum class Method : std::uint8_t { kPunch, kZeroRange, kWrite };

  std::uint16_t queue = 0;
  Method method = Method::kPunch;
  Command command = Command::kRead;
  IoRing::Range data;  // kRead, kWrite: in the file; kGetId: only the length
  std::uint32_t range_count = 0;
  std::uint32_t range_index = 0;                      // the one under way
  std::array<Range, BlockLimits::kMaxRanges> ranges;  // kDiscard, kWriteZeroes
  DescriptorChain chain;
};

const char* to_string(BlockRequest::Command command);

// Decodes request.chain into the rest of the request. kOk: go ahead; else the answer to give.
virtio::BlockStatus decode_request(const DmaSpace& space, const BlockLimits& limits,
                                   BlockRequest& request);

}  // namespace bulkhead
