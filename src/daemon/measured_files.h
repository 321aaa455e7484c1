// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "base/file_stamp.h"
#include "daemon/worker.h"
#include "mem/daemon_connection.h"

namespace bulkhead::daemon {

struct MeasuredFilesLimits {
  std::uint64_t file_bytes = 256 * kMiB;
  std::uint64_t kept_bytes = 512 * kMiB;  // of copies
  std::size_t kept_files = 64;
};

// Measures what partitions with a TPM start, once: what is read is hashed and copied, the copy is
// sealed, and whoever starts from the copy starts what the digests are of, whatever happens to the
// file. A stamp tells whether the file is one that was read before. What is kept is bounded, and
// goes when it was not asked for for longest.
class MeasuredFiles final {
 public:
  enum class Want : std::uint8_t { kDigests, kCopy };
  using Limits = MeasuredFilesLimits;
  // Called on the loop's thread. Without a copy unless it was wanted.
  using Done = std::move_only_function<void(Result<MeasuredFile>)>;

  static Result<std::unique_ptr<MeasuredFiles>> create(EventLoop& loop, const Limits& limits = {});

  // kBusy if too many wait. The outcome is kUnsupported for what is no regular file, or lies where
  // a user could let us wait for ever.
  Result<void> measure(Fd file, Want want, Done done);

 private:
  struct Entry {
    FileStamp stamp;
    FileDigests digests;
    Fd copy;  // none: nobody wanted it
  };

  explicit MeasuredFiles(const Limits& limits) : limits_(limits) {}
  Result<MeasuredFile> answer(int file, Want want);
  Result<Entry> read(int file, Want want) const;
  void keep(Entry entry);
  std::uint64_t kept_bytes() const;

  const Limits limits_;
  std::deque<Entry> entries_;  // the thread's; what was asked for last is first
  std::unique_ptr<Worker> worker_;
};

}  // namespace bulkhead::daemon
