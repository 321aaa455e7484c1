// SPDX-License-Identifier: Apache-2.0
#include "mem/io_ring.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"

namespace bulkhead {
namespace {

// One command moves at most this much: Linux takes no more than 2 GiB - 4 KiB per call.
constexpr std::uint64_t kMaxTransfer = kGiB;
// EAGAIN and EINTR come seldom, and never for ever from a file that works.
constexpr int kMaxStalls = 100;
constexpr std::size_t kBatch = 32;
// One command of zeroes: 1 MiB from one buffer. It is never written, so it stays the kernel's
// shared page of zeroes and costs no memory.
constexpr std::size_t kZeroVectors = 16;
constexpr std::size_t kZeroBytes = 64 * kKiB;
alignas(kPageSize) std::array<std::byte, kZeroBytes> zero_bytes;

// Enough for one operation of any size, or for many small ones handed over together.
constexpr std::size_t kVectors = 2 * DmaSpace::kMaxVectors;
// A line every ten seconds or so.
constexpr unsigned kWaitsPerLine = 10;

constexpr bool transfers(IoCommand::Kind kind) {
  return kind == IoCommand::Kind::kRead || kind == IoCommand::Kind::kWrite;
}

}  // namespace

Result<std::unique_ptr<IoRing>> IoRing::create(const Options& options) {
  if (options.entries == 0 || options.entries > kMaxEntries) {
    return Error{Errc::kInvalidArgument, 0, "an I/O ring has from 1 to 4096 entries"};
  }
  if (!options.synchronous) {
    Result<std::unique_ptr<IoEngine>> engine = create_uring_engine(options.file, options.entries);
    if (engine) return std::make_unique<IoRing>(std::move(*engine), options.entries);
    log_warning("io.no_io_uring", {{"reason", engine.error().what},
                                   {"errno", engine.error().os_errno},
                                   {"effect", "disk requests are served one after the other"}});
  }
  std::unique_ptr<IoEngine> engine = TRY(create_sync_engine(options.file, options.entries));
  return std::make_unique<IoRing>(std::move(engine), options.entries);
}

IoRing::IoRing(std::unique_ptr<IoEngine> engine, std::uint32_t entries)
    : engine_(std::move(engine)),
      operations_(entries),
      vectors_(std::make_unique_for_overwrite<iovec[]>(kVectors)) {
  free_.reserve(entries);
  for (std::uint32_t slot = entries; slot > 0; --slot) free_.push_back(slot - 1);
}

IoRing::~IoRing() {
  cancel_all();
}

std::uint32_t IoRing::take_slot(const Operation& operation) {
  CHECK(!free_.empty());
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  operations_[slot].emplace(operation);
  return slot;
}

void IoRing::release(std::uint32_t slot) {
  operations_[slot].reset();
  free_.push_back(slot);
}

Result<void> IoRing::queue_read(std::uint64_t tag, const DmaWriter& to, Range range) {
  CHECK(range.length <= to.remaining());
  const DmaCursor& cursor = to;
  return queue_transfer({IoCommand::Kind::kRead, tag, range, 0, cursor});
}

Result<void> IoRing::queue_write(std::uint64_t tag, const DmaReader& from, Range range,
                                 bool durable) {
  CHECK(range.length <= from.remaining());
  const DmaCursor& cursor = from;
  return queue_transfer({IoCommand::Kind::kWrite, tag, range, durable ? RWF_DSYNC : 0, cursor});
}

Result<void> IoRing::queue_transfer(const Operation& operation) {
  const std::uint32_t slot = take_slot(operation);
  const Result<void> started = start(slot);
  if (!started) release(slot);
  return started;
}

void IoRing::queue_zeroes(std::uint64_t tag, Range range) {
  CHECK(start(take_slot({IoCommand::Kind::kWrite, tag, range})));
}

void IoRing::queue_sync(std::uint64_t tag) {
  CHECK(start(take_slot({IoCommand::Kind::kSync, tag, {}, 1})));
}

void IoRing::queue_allocate(std::uint64_t tag, Range range, int mode) {
  CHECK(start(take_slot({IoCommand::Kind::kAllocate, tag, range, mode})));
}

Result<void> IoRing::start(std::uint32_t slot) {
  Operation& operation = *operations_[slot];
  IoCommand command{.kind = operation.kind,
                    .slot = slot,
                    .offset = operation.rest.offset,
                    .length = operation.rest.length,
                    .flags = operation.flags};
  if (engine_->room() == 0) submit();
  if (transfers(operation.kind)) {
    command.vectors = TRY(vectors_for(operation));
    TRY(pin(operation, command.vectors));
  }
  engine_->push(command);
  return {};
}

// Before the kernel sees the command: what it holds then are frames (O_DIRECT), which must not be
// taken from the guest's pages meanwhile, in neither direction. An IOMMU may map other pages there
// before the end, so the addresses are kept.
Result<void> IoRing::pin(Operation& operation, std::span<const iovec> vectors) {
  if (!operation.cursor) return {};
  Residency* residency = operation.cursor->space_.residency();
  if (residency == nullptr) return {};
  TRY(residency->pin(vectors));
  operation.pinned.assign(vectors.begin(), vectors.end());
  return {};
}

void IoRing::unpin(Operation& operation) {
  if (operation.pinned.empty()) return;
  operation.cursor->space_.residency()->unpin(operation.pinned);
  operation.pinned.clear();
}

Result<std::span<const iovec>> IoRing::vectors_for(const Operation& operation) {
  if (!operation.cursor) return collect_zeroes(operation.rest.length);
  Result<std::span<const iovec>> vectors = collect_memory(operation);
  if (vectors || vectors.error().code != Errc::kExhausted || vectors_used_ == 0) return vectors;
  submit();  // frees the vectors of what was queued before
  return collect_memory(operation);
}

Result<std::span<const iovec>> IoRing::collect_memory(const Operation& operation) {
  const std::span<iovec> room = unused_vectors();
  const DmaAccess access =
      operation.kind == IoCommand::Kind::kRead ? DmaAccess::kWrite : DmaAccess::kRead;
  const std::size_t count =
      TRY(operation.cursor->collect(std::min(operation.rest.length, kMaxTransfer), access,
                                    room.first(std::min(room.size(), DmaSpace::kMaxVectors))));
  vectors_used_ += count;
  return std::span<const iovec>(room.first(count));
}

std::span<iovec> IoRing::unused_vectors() const {
  return std::span(vectors_.get(), kVectors).subspan(vectors_used_);
}

std::span<const iovec> IoRing::collect_zeroes(std::uint64_t length) {
  if (unused_vectors().size() < kZeroVectors) submit();
  const std::span<iovec> room = unused_vectors().first(kZeroVectors);
  std::size_t count = 0;
  while (count < room.size() && length > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(length, kZeroBytes);
    room[count++] = {zero_bytes.data(), piece};
    length -= piece;
  }
  vectors_used_ += count;
  return room.first(count);
}

void IoRing::submit() {
  engine_->submit();
  vectors_used_ = 0;
}

std::size_t IoRing::reap(std::span<IoCompletion> out) {
  std::size_t count = 0;
  // Every result ends an operation, or moves it forward, or counts as one of its few stalls.
  while (count < out.size()) {
    std::array<IoResult, kBatch> results;
    const std::size_t wanted = std::min(kBatch, out.size() - count);
    const std::size_t got = engine_->reap(std::span(results).first(wanted));
    if (got == 0) break;
    for (const IoResult& result : std::span(results).first(got)) {
      const std::optional<IoCompletion> completion = advance(result);
      if (completion) out[count++] = *completion;
    }
    submit();
  }
  return count;
}

std::optional<IoCompletion> IoRing::advance(const IoResult& result) {
  Operation& operation = *operations_[result.slot];
  unpin(operation);
  int os_errno = 0;
  if (account(operation, result.value, os_errno) == Progress::kMore) {
    if (start(result.slot)) return std::nullopt;
    os_errno = EFAULT;  // an IOMMU's mapping went away meanwhile
  }
  const IoCompletion completion{operation.tag, operation.done, os_errno};
  release(result.slot);
  return completion;
}

IoRing::Progress IoRing::account(Operation& operation, std::int32_t value, int& os_errno) {
  const bool reads = operation.kind == IoCommand::Kind::kRead;
  if (reads) operation.cursor->note_written(operation.rest.length);
  if ((value == -EAGAIN || value == -EINTR) && ++operation.stalls < kMaxStalls) {
    return Progress::kMore;
  }
  if (value < 0) os_errno = -value;
  if (value < 0 || !transfers(operation.kind)) return Progress::kEnd;
  if (value == 0 && operation.rest.length > 0) {
    if (!reads) os_errno = EIO;  // for a read it is the end of the file
    return Progress::kEnd;
  }
  const auto count = std::min(static_cast<std::uint64_t>(value), operation.rest.length);
  if (operation.cursor) operation.cursor->skip(count);
  operation.rest.offset += count;
  operation.rest.length -= count;
  operation.done += count;
  operation.stalls = 0;
  return operation.rest.length > 0 ? Progress::kMore : Progress::kEnd;
}

void IoRing::cancel_all() {
  if (in_flight() == 0) return;
  submit();
  engine_->cancel();
  // Nothing but the end of all of them will do: until then the kernel may write to guest memory.
  for (unsigned waits = 1; in_flight() > 0; ++waits) {
    std::array<IoResult, kBatch> results;
    const std::size_t got = engine_->reap(results);
    for (const IoResult& result : std::span(results).first(got)) {
      Operation& operation = *operations_[result.slot];
      unpin(operation);
      if (operation.kind == IoCommand::Kind::kRead) {
        operation.cursor->note_written(operation.rest.length);
      }
      release(result.slot);
    }
    if (got > 0) continue;
    if (waits % kWaitsPerLine == 0) log_warning("io.waits_for_disk", {{"requests", in_flight()}});
    engine_->wait();
  }
}

}  // namespace bulkhead
