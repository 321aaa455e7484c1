// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/block_request.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace bulkhead {
namespace {

using virtio::BlockStatus;
using Command = BlockRequest::Command;

std::uint64_t total_length(std::span<const DmaSegment> segments) {
  std::uint64_t total = 0;
  for (const DmaSegment& segment : segments) total += segment.length;
  return total;
}

std::optional<Command> command_of(std::uint32_t type) {
  switch (type) {
    case virtio::kTypeIn:
      return Command::kRead;
    case virtio::kTypeOut:
      return Command::kWrite;
    case virtio::kTypeFlush:
      return Command::kFlush;
    case virtio::kTypeGetId:
      return Command::kGetId;
    case virtio::kTypeDiscard:
      return Command::kDiscard;
    case virtio::kTypeWriteZeroes:
      return Command::kWriteZeroes;
    default:
      return std::nullopt;
  }
}

// The part of the disk that a driver names, in bytes. `length` is at most 2^41, so only the start
// can be too large to be multiplied.
std::optional<IoRing::Range> locate(const BlockLimits& limits, std::uint64_t sector,
                                    std::uint64_t length) {
  if (sector > limits.capacity_bytes / virtio::kSectorSize) return std::nullopt;
  const std::uint64_t offset = sector * virtio::kSectorSize;
  if (!range_fits(offset, length, limits.capacity_bytes)) return std::nullopt;
  return IoRing::Range{offset, length};
}

BlockStatus decode_data(const BlockLimits& limits, std::uint64_t sector, std::uint64_t length,
                        BlockRequest& request) {
  if (length % virtio::kSectorSize != 0) return BlockStatus::kIoError;
  if (length > BlockLimits::kMaxDataBytes) return BlockStatus::kIoError;
  const std::optional<IoRing::Range> place = locate(limits, sector, length);
  if (!place) return BlockStatus::kIoError;
  request.data = *place;
  return BlockStatus::kOk;
}

// virtio 1.2 §5.2.6.2: an unknown flag, and unmap in a discard, are unsupported.
BlockStatus decode_range(const BlockLimits& limits, const virtio::BlockRangeHeader& header,
                         BlockRequest& request) {
  const bool zeroes = request.command == Command::kWriteZeroes;
  const std::uint32_t known_flags = zeroes ? virtio::kRangeUnmap : 0;
  if ((header.flags & ~known_flags) != 0) return BlockStatus::kUnsupported;
  const std::uint32_t most =
      zeroes ? BlockLimits::kMaxZeroSectors : BlockLimits::kMaxDiscardSectors;
  if (header.num_sectors > most) return BlockStatus::kIoError;
  const std::optional<IoRing::Range> place =
      locate(limits, header.sector, header.num_sectors * virtio::kSectorSize);
  if (!place) return BlockStatus::kIoError;
  // fallocate(2) refuses an empty range, and there is nothing to do for it.
  if (place->length == 0) return BlockStatus::kOk;
  request.ranges[request.range_count++] = {*place, (header.flags & virtio::kRangeUnmap) != 0};
  return BlockStatus::kOk;
}

// All of the ranges are checked before the first one is touched.
BlockStatus decode_ranges(const BlockLimits& limits, DmaReader& reader, BlockRequest& request) {
  constexpr std::uint64_t kEach = sizeof(virtio::BlockRangeHeader);
  const std::uint64_t count = reader.remaining() / kEach;
  if (!limits.can_discard) return BlockStatus::kUnsupported;
  if (count == 0 || count > BlockLimits::kMaxRanges || reader.remaining() % kEach != 0) {
    return BlockStatus::kIoError;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const Result<virtio::BlockRangeHeader> header = reader.read<virtio::BlockRangeHeader>();
    if (!header) return BlockStatus::kIoError;
    const BlockStatus status = decode_range(limits, *header, request);
    if (status != BlockStatus::kOk) return status;
  }
  return BlockStatus::kOk;
}

constexpr bool changes_disk(Command command) {
  return command == Command::kWrite || command == Command::kDiscard ||
         command == Command::kWriteZeroes;
}

}  // namespace

const char* to_string(Command command) {
  switch (command) {
    case Command::kRead:
      return "read";
    case Command::kWrite:
      return "write";
    case Command::kFlush:
      return "flush";
    case Command::kGetId:
      return "get-id";
    case Command::kDiscard:
      return "discard";
    case Command::kWriteZeroes:
      return "write-zeroes";
  }
  std::unreachable();
}

DmaReader BlockRequest::data_out(const DmaSpace& space) const {
  DmaReader reader(space, chain.readable());
  reader.skip(std::min<std::uint64_t>(sizeof(virtio::BlockHeader), reader.remaining()));
  return reader;
}

std::uint32_t BlockRequest::answer(const DmaSpace& space, BlockStatus status) const {
  const std::span<const DmaSegment> writable = chain.writable();
  const std::uint64_t total = total_length(writable);
  if (total == 0) return 0;
  DmaWriter writer(space, writable);
  writer.skip(total - 1);
  // Memory that is not there cannot be told so.
  if (!writer.write_value(status)) return 0;
  const bool fills = command == Command::kRead || command == Command::kGetId;
  const std::uint64_t filled = status == BlockStatus::kOk && fills ? data.length : 0;
  // The status counts when nothing unfilled lies before it.
  return static_cast<std::uint32_t>(filled == total - 1 ? total : filled);
}

BlockStatus decode_request(const DmaSpace& space, const BlockLimits& limits,
                           BlockRequest& request) {
  request.data = {};
  request.range_count = request.range_index = 0;
  DmaReader reader(space, request.chain.readable());
  const std::uint64_t writable = total_length(request.chain.writable());
  const Result<virtio::BlockHeader> header = reader.read<virtio::BlockHeader>();
  if (!header || writable == 0) return BlockStatus::kIoError;
  const std::optional<Command> command = command_of(header->type);
  if (!command) return BlockStatus::kUnsupported;
  request.command = *command;
  // virtio 1.2 §5.2.6.2: writes to a read-only disk
  if (limits.read_only && changes_disk(*command)) return BlockStatus::kIoError;
  switch (*command) {
    case Command::kRead:
      return decode_data(limits, header->sector, writable - 1, request);
    case Command::kWrite:
      return decode_data(limits, header->sector, reader.remaining(), request);
    case Command::kGetId:
      request.data.length = std::min<std::uint64_t>(virtio::kBlockIdBytes, writable - 1);
      return BlockStatus::kOk;
    case Command::kDiscard:
    case Command::kWriteZeroes:
      return decode_ranges(limits, reader, request);
    case Command::kFlush:
      return BlockStatus::kOk;
  }
  std::unreachable();
}

}  // namespace bulkhead
