// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "mem/daemon_connection.h"
#include "mem/frame_source.h"
#include "mem/ledger.h"

namespace bulkhead {

// Frames from the host's pool: the monitor's side of bulkheadd. The daemon may be restarted: the
// next call connects again, says what this partition holds, and goes on. Thread-safe; a call waits
// for its answer.
class DaemonFrames final : public FrameSource {
 public:
  struct Options {
    std::string socket_path = daemon::kDefaultSocket;
    std::string name;  // the partition's
    Backing backing = Backing::kMemfd;
    std::optional<unsigned> numa_node = std::nullopt;
    int reconnect_ms = 10'000;  // how long a daemon may take to come back
  };

  // kNotFound when no daemon listens there.
  static Result<std::unique_ptr<DaemonFrames>> connect(Options options);

  Result<Extent> take(std::uint64_t frames) override;
  void give_back(Extent extent) override;
  bool covers_host() const override { return true; }

  // Bookkeeping in the ledger, as Ledger has it. kClosed when the daemon went away after it was
  // asked: only a snapshot tells then whether it was done.
  Result<void> place(FrameRun run, Gpa first) override;
  Result<void> note_sealed(bool sealed) override;
  Result<GrantId> note_shared(PageRun pages, Rights of_tools) override;
  Result<void> note_unshared(GrantId grant) override { return revoke(grant); }
  Result<void> seal(FrameRun run);
  Result<void> unseal(FrameRun run);
  Result<GrantId> grant(const GrantRequest& request);
  Result<void> revoke(GrantId grant);

  PartitionId partition() const;

 private:
  using Bytes = std::span<const std::byte>;
  enum class Repeat : bool { kNo, kYes };

  explicit DaemonFrames(Options options) : options_(std::move(options)) {}

  Result<daemon::Answer> call(daemon::Request request, Bytes body, Repeat repeat) REQUIRES(lock_);
  Result<daemon::Answer> call_once(daemon::Request request, Bytes body);
  Result<std::vector<FrameRun>> owned();
  Result<void> connect_and_enter() REQUIRES(lock_);
  Result<void> reconnect() REQUIRES(lock_);
  Result<void> enter() REQUIRES(lock_);

  const Options options_;
  mutable Mutex lock_;
  daemon::Connection connection_ GUARDED_BY(lock_);
  PartitionId partition_ GUARDED_BY(lock_);
  std::vector<FrameRun> held_ GUARDED_BY(lock_);
  std::vector<FrameRun> sealed_;  // by note_sealed(), on one thread
};

}  // namespace bulkhead
