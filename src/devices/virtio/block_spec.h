// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/virtio/spec.h"

// Numbers and layouts of virtio 1.2 §5.2. All fields are little-endian, as our hosts are.

namespace bulkhead::virtio {

inline constexpr std::uint32_t kDeviceBlock = 2;

// §5.2.3
inline constexpr std::uint64_t kBlockSizeMax = feature(1);
inline constexpr std::uint64_t kBlockSegMax = feature(2);
inline constexpr std::uint64_t kBlockReadOnly = feature(5);
inline constexpr std::uint64_t kBlockBlkSize = feature(6);
inline constexpr std::uint64_t kBlockFlush = feature(9);
inline constexpr std::uint64_t kBlockTopology = feature(10);
inline constexpr std::uint64_t kBlockMultiQueue = feature(12);
inline constexpr std::uint64_t kBlockDiscard = feature(13);
inline constexpr std::uint64_t kBlockWriteZeroes = feature(14);

// The unit of all lengths and places, whatever blk_size says.
inline constexpr std::uint64_t kSectorSize = 512;

// §5.2.4, up to where the features above reach
struct BlockConfig {
  std::uint64_t capacity = 0;  // in sectors
  std::uint32_t size_max = 0;
  std::uint32_t seg_max = 0;
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
  std::uint32_t blk_size = 0;
  std::uint8_t physical_block_exp = 0;  // log2 of logical blocks per physical one
  std::uint8_t alignment_offset = 0;
  std::uint16_t min_io_size = 0;  // in logical blocks
  std::uint32_t opt_io_size = 0;
  std::uint8_t writeback = 0;
  std::uint8_t unused0 = 0;
  std::uint16_t num_queues = 0;
  std::uint32_t max_discard_sectors = 0;
  std::uint32_t max_discard_seg = 0;
  std::uint32_t discard_sector_alignment = 0;
  std::uint32_t max_write_zeroes_sectors = 0;
  std::uint32_t max_write_zeroes_seg = 0;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::uint8_t unused1[3] = {};
};
static_assert(sizeof(BlockConfig) == 64);  // 60 of the specification, and padding that reads as 0
static_assert(offsetof(BlockConfig, blk_size) == 20);
static_assert(offsetof(BlockConfig, writeback) == 32);
static_assert(offsetof(BlockConfig, num_queues) == 34);
static_assert(offsetof(BlockConfig, write_zeroes_may_unmap) == 56);

// §5.2.6
struct BlockHeader {
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
  std::uint64_t sector = 0;
};
static_assert(sizeof(BlockHeader) == 16);

// §5.2.6: what DISCARD and WRITE_ZEROES carry as data
struct BlockRangeHeader {
  std::uint64_t sector = 0;
  std::uint32_t num_sectors = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(BlockRangeHeader) == 16);
inline constexpr std::uint32_t kRangeUnmap = 1;

inline constexpr std::uint32_t kTypeIn = 0;
inline constexpr std::uint32_t kTypeOut = 1;
inline constexpr std::uint32_t kTypeFlush = 4;
inline constexpr std::uint32_t kTypeGetId = 8;
inline constexpr std::uint32_t kTypeDiscard = 11;
inline constexpr std::uint32_t kTypeWriteZeroes = 13;

inline constexpr std::size_t kBlockIdBytes = 20;

// §5.2.6: the last byte of every request
enum class BlockStatus : std::uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

}  // namespace bulkhead::virtio
