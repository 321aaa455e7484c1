// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "mem/dma_space.h"
#include "mem/io_engine.h"

namespace bulkhead {

// How an operation ended. Fewer bytes than asked for, without an error, mean the end of the file.
struct IoCompletion {
  std::uint64_t tag = 0;
  std::uint64_t bytes = 0;  // transferred before the end or the error
  int os_errno = 0;         // 0: no error
};

// Moves data between one file and guest memory, without waiting and without copying: io_uring, or
// plain system calls where the host forbids it. It lives in mem/ because pointers into guest
// memory must not leave it.
//
// An operation is queued, handed over by submit(), and found by reap(), in any order. Partial
// transfers are continued and interrupted ones repeated here. Not thread-safe: the owner's lock
// covers it. Any thread may call, so that a device can be reset from a vCPU's thread; that rules
// out IORING_SETUP_SINGLE_ISSUER and DEFER_TASKRUN.
class IoRing {
 public:
  struct Options {
    int file = -1;              // the caller keeps it open
    std::uint32_t entries = 0;  // operations in flight, at most kMaxEntries
    bool synchronous = false;   // do without io_uring
  };
  static constexpr std::uint32_t kMaxEntries = 4096;

  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  static Result<std::unique_ptr<IoRing>> create(const Options& options);
  IoRing(std::unique_ptr<IoEngine> engine, std::uint32_t entries);
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  // Readable while completions wait.
  int event_fd() const { return engine_->event_fd(); }
  std::size_t in_flight() const { return operations_.size() - free_.size(); }
  bool full() const { return free_.empty(); }

  // Each needs !full(). The first two take a copy of the cursor, whose segments must stay until the
  // completion; `range` names the part of the file. An error (memory that the device may not
  // reach) means that nothing was queued. Lengths above remaining() are our own mistake.
  Result<void> queue_read(std::uint64_t tag, const DmaWriter& to, Range range);
  // `durable`: completes only when the data is on stable storage.
  Result<void> queue_write(std::uint64_t tag, const DmaReader& from, Range range, bool durable);
  // Writes zeroes from our own memory.
  void queue_zeroes(std::uint64_t tag, Range range);
  // fdatasync(2): covers every write that has completed.
  void queue_sync(std::uint64_t tag);
  // fallocate(2) with FALLOC_FL_* of `mode`.
  void queue_allocate(std::uint64_t tag, Range range, int mode);

  // Call reap() until it returns 0 after submit() and when event_fd() is readable.
  void submit();
  std::size_t reap(std::span<IoCompletion> out);
  // Blocks until a completion can be reaped, or about a second has passed.
  void wait() { engine_->wait(); }
  // Ends everything that is in flight, early where possible, and forgets its completions. The
  // kernel no longer touches guest memory after that.
  void cancel_all();

 private:
  struct Operation {
    IoCommand::Kind kind = IoCommand::Kind::kRead;
    std::uint64_t tag = 0;
    Range rest;                            // what is left of it
    int flags = 0;                         // as in IoCommand
    std::optional<DmaCursor> cursor = {};  // none: no data, or zeroes
    std::uint64_t done = 0;
    int stalls = 0;                  // attempts in a row without progress
    std::vector<iovec> pinned = {};  // what the kernel may use now, if a Residency manages it
  };
  enum class Progress : std::uint8_t { kMore, kEnd };

  std::uint32_t take_slot(const Operation& operation);
  void release(std::uint32_t slot);
  Result<void> queue_transfer(const Operation& operation);
  // Hands what is left of an operation to the engine.
  Result<void> start(std::uint32_t slot);
  // The kernel may use the memory of the command from now on, or no longer.
  Result<void> pin(Operation& operation, std::span<const iovec> vectors);
  void unpin(Operation& operation);
  Result<std::span<const iovec>> vectors_for(const Operation& operation);
  Result<std::span<const iovec>> collect_memory(const Operation& operation);
  std::span<iovec> unused_vectors() const;
  std::span<const iovec> collect_zeroes(std::uint64_t length);
  // Takes a result into account. Nothing: the rest of the operation was started.
  std::optional<IoCompletion> advance(const IoResult& result);
  Progress account(Operation& operation, std::int32_t value, int& os_errno);

  std::unique_ptr<IoEngine> engine_;
  std::vector<std::optional<Operation>> operations_;  // by slot
  std::vector<std::uint32_t> free_;                   // slots; the one used last comes first
  std::unique_ptr<iovec[]> vectors_;  // of commands not yet submitted; untouched, it costs nothing
  std::size_t vectors_used_ = 0;
};

}  // namespace bulkhead
