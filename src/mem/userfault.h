// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"

namespace bulkhead {

// Pages of this process's memory.
struct HostRun {
  Hva start;
  std::uint64_t size_bytes = 0;
};

// A thread stands still because of a page that is not mapped, or is mapped write-protected.
struct PageFault {
  Hva page;
  bool write = false;
};

// userfaultfd(2) on shared memory files, kernel-mode faults (KVM, io_uring, read(2)) included.
// Thread-safe.
class UserFault {
 public:
  enum class Access : std::uint8_t { kWritable, kProtected };
  enum class Outcome : std::uint8_t {
    kDone,
    kPresent,  // the file has a page there (copy, zero), or it is mapped (map)
    kAbsent,   // the file has no page there (map)
    kFailed,   // the host is out of memory, or the range is not watched
  };

  static Result<UserFault> create();

  // Polls as readable while faults wait.
  int fd() const { return file_.get(); }
  // Whether pages can be mapped with Access::kProtected: Linux 6.4.
  bool protects() const { return protects_; }

  // From now on threads wait when they touch a page that is not mapped, whether the file has it or
  // not. The kernel then maps nothing there by itself: no fault-around, no huge pages.
  Result<void> watch(HostRun run) const;
  // Threads that wait go on.
  void unwatch(HostRun run) const;

  // Takes the faults that wait, as many as fit.
  std::size_t take(std::span<PageFault> out) const;

  // Each wakes the threads that wait for the page. Writing to a protected page faults.
  // Copies pages into holes of the file and maps them; adds up in `copied_bytes`.
  Outcome copy(HostRun to, Hva from, Access access, std::uint64_t& copied_bytes) const;
  Outcome zero(Hva page) const;
  // Maps the page that the file has.
  Outcome map(Hva page, Access access) const;
  // Takes the protection of a page away, also when only its trace is left.
  void unprotect(Hva page) const;
  // Threads try again, and fault again if nothing has changed.
  void wake(HostRun run) const;

 private:
  explicit UserFault(Fd file) : file_(std::move(file)) {}
  Result<bool> probe_protection() const;

  Fd file_;
  bool watches_writes_ = false;
  bool protects_ = false;
};

}  // namespace bulkhead
