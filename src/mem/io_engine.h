// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace bulkhead {

// One system call's worth of work on the engine's file.
struct IoCommand {
  enum class Kind : std::uint8_t { kRead, kWrite, kSync, kAllocate };

  Kind kind = Kind::kRead;
  std::uint32_t slot = 0;  // the caller's; comes back with the result
  std::uint64_t offset = 0;
  std::span<const iovec> vectors = {};  // kRead, kWrite: valid until submit() has returned
  std::uint64_t length = 0;             // kAllocate
  int flags = 0;  // kWrite: RWF_*; kAllocate: FALLOC_FL_*; kSync: not 0 for data only
};

struct IoResult {
  std::uint32_t slot = 0;
  std::int32_t value = 0;  // as the kernel gives it: a byte count, or a negative errno
};

// How IoRing has its commands done. Commands may be done in any order, and partly. Not thread-safe,
// but not tied to one thread either.
class IoEngine {
 public:
  virtual ~IoEngine() = default;

  // Readable while results wait.
  virtual int event_fd() const = 0;
  // How many more commands push() takes before the next submit().
  virtual std::size_t room() const = 0;
  virtual void push(const IoCommand& command) = 0;
  // Hands over what was pushed. A command that the kernel does not accept gets a result too.
  virtual void submit() = 0;
  // Takes the results that are there, as many as fit.
  virtual std::size_t reap(std::span<IoResult> out) = 0;
  // Asks for an early end of everything handed over. Each command still gets its result.
  virtual void cancel() = 0;
  // Waits for a result, at most about a second.
  virtual void wait() = 0;
};

// io_uring(7) on `file`, which the caller keeps open. Takes up to `entries` commands under way.
Result<std::unique_ptr<IoEngine>> create_uring_engine(int file, std::uint32_t entries);

// Plain system calls, done in push(): for hosts that forbid io_uring.
Result<std::unique_ptr<IoEngine>> create_sync_engine(int file, std::uint32_t entries);

}  // namespace bulkhead
