// SPDX-License-Identifier: Apache-2.0
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "devices/virtio/block.h"

// The life of one request of VirtioBlock: accept, begin, handle, finish.

namespace bulkhead {
namespace {

using virtio::BlockStatus;
using Command = BlockRequest::Command;
using Method = BlockRequest::Method;

constexpr int kPunchMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr int kZeroMode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

bool no_room(int os_errno) {
  return os_errno == ENOSPC || os_errno == EDQUOT;
}

}  // namespace

Result<void> VirtioBlock::accept(BlockRequest& request) {
  const BlockStatus status = decode_request(space_, disk_.limits(), request);
  if (status != BlockStatus::kOk) return finish(request, status);
  return begin(request);
}

Result<void> VirtioBlock::begin(BlockRequest& request) {
  const std::uint64_t tag = pool_.index_of(request);
  switch (request.command) {
    case Command::kRead:
      if (ring_->queue_read(tag, request.data_in(space_), request.data)) return {};
      return finish(request, BlockStatus::kIoError);
    case Command::kWrite:
      return begin_write(request);
    case Command::kFlush:
      ring_->queue_sync(tag);
      return {};
    case Command::kGetId:
      return answer_id(request);
    case Command::kDiscard:
    case Command::kWriteZeroes:
      return begin_range(request);
  }
  std::unreachable();
}

Result<void> VirtioBlock::begin_write(BlockRequest& request) {
  if (!disk_.reaches(request.data.offset + request.data.length)) return fail(request, 0);
  const std::uint64_t tag = pool_.index_of(request);
  if (ring_->queue_write(tag, request.data_out(space_), request.data, durable_)) return {};
  return finish(request, BlockStatus::kIoError);
}

Result<void> VirtioBlock::answer_id(BlockRequest& request) {
  std::array<char, virtio::kBlockIdBytes> id{};  // virtio 1.2 §5.2.6.1: padded with zeroes
  std::copy(id_.begin(), id_.end(), id.begin());
  const auto answer = std::as_bytes(std::span(id)).first(request.data.length);
  const bool written = request.data_in(space_).write(answer).has_value();
  return finish(request, written ? BlockStatus::kOk : BlockStatus::kIoError);
}

// Ranges are worked on one after the other.
Result<void> VirtioBlock::begin_range(BlockRequest& request) {
  if (request.range_index == request.range_count) return end_ranges(request);
  const BlockRequest::Range& range = request.ranges[request.range_index];
  const std::uint64_t tag = pool_.index_of(request);
  if (request.command == Command::kDiscard) {
    ring_->queue_allocate(tag, range.bytes, kPunchMode);
    return {};
  }
  if (!disk_.reaches(range.bytes.offset + range.bytes.length)) return fail(request, 0);
  if (range.unmap && punch_works_) {
    request.method = Method::kPunch;
    ring_->queue_allocate(tag, range.bytes, kPunchMode);
  } else if (zero_range_works_) {
    request.method = Method::kZeroRange;
    ring_->queue_allocate(tag, range.bytes, kZeroMode);
  } else {
    request.method = Method::kWrite;
    ring_->queue_zeroes(tag, range.bytes);
  }
  return {};
}

Result<void> VirtioBlock::end_ranges(BlockRequest& request) {
  if (!durable_) return finish(request, BlockStatus::kOk);
  request.command = Command::kFlush;
  return begin(request);
}

Result<void> VirtioBlock::handle(const IoCompletion& completion) {
  BlockRequest& request = pool_.at(completion.tag);
  if (request.command == Command::kDiscard || request.command == Command::kWriteZeroes) {
    return handle_range(request, completion);
  }
  // Too few bytes without an error: the file ends before the disk does.
  if (completion.os_errno != 0 || completion.bytes < request.data.length) {
    return fail(request, completion.os_errno);
  }
  if (request.command == Command::kWrite) full_ = false;
  return finish(request, BlockStatus::kOk);
}

Result<void> VirtioBlock::handle_range(BlockRequest& request, const IoCompletion& completion) {
  if (completion.os_errno == 0) {
    ++request.range_index;
    return begin_range(request);
  }
  if (completion.os_errno != EOPNOTSUPP) return fail(request, completion.os_errno);
  if (request.command == Command::kDiscard) return finish(request, BlockStatus::kUnsupported);
  switch (request.method) {
    case Method::kPunch:
      punch_works_ = false;
      return begin_range(request);
    case Method::kZeroRange:
      zero_range_works_ = false;
      return begin_range(request);
    case Method::kWrite:
      return fail(request, completion.os_errno);
  }
  std::unreachable();
}

Result<void> VirtioBlock::finish(BlockRequest& request, BlockStatus status) {
  const std::uint32_t written = request.answer(space_, status);
  used_ |= 1U << request.queue;
  pool_.release(request);
  return active_->queues[request.queue].push(request.chain.head(), written);
}

Result<void> VirtioBlock::fail(BlockRequest& request, int os_errno) {
  log_io_error(request, os_errno);
  return finish(request, BlockStatus::kIoError);
}

void VirtioBlock::log_io_error(const BlockRequest& request, int os_errno) {
  if (no_room(os_errno)) {
    // Once, until a write finds room again.
    if (std::exchange(full_, true)) return;
    log_error("block.disk_full", {{"disk", id_},
                                  {"errno", os_errno},
                                  {"effect", "the guest's writes fail until there is room"}});
    return;
  }
  if (!error_lines_.allow()) return;
  const bool ranged = request.range_count > 0;
  const IoRing::Range& range = ranged ? request.ranges[request.range_index].bytes : request.data;
  log_error(os_errno != 0 ? "block.io_error" : "block.file_too_short",
            {{"disk", id_},
             {"request", to_string(request.command)},
             {"offset", range.offset},
             {"length", range.length},
             {"errno", os_errno}});
}

}  // namespace bulkhead
