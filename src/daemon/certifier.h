// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/thread.h"
#include "base/thread_annotations.h"
#include "hostca/host_ca.h"

namespace bulkhead::daemon {

// Has certificates made on a thread of its own: a TPM takes its time, and nobody else shall wait
// for it. Jobs are bounded; those that come while too many wait are refused.
class Certifier final : private EventHandler {
 public:
  static constexpr std::size_t kMaxWaiting = 64;

  // Opens the partition CA; called on that thread, before the first job and after each failure.
  using Open = std::function<Result<std::unique_ptr<hostca::HostCa>>()>;
  // Called on the loop's thread.
  using Done = std::function<void(Result<hostca::PartitionCertificates>)>;

  static Result<std::unique_ptr<Certifier>> create(EventLoop& loop, Open open);
  ~Certifier() override;

  // kBusy if too many wait.
  Result<void> certify(hostca::PartitionKeys keys, Done done) EXCLUDES(mutex_);

 private:
  struct Job {
    hostca::PartitionKeys keys;
    Done done;
    Result<hostca::PartitionCertificates> outcome = hostca::PartitionCertificates{};
  };

  Certifier(Open open, Fd finished) : open_(std::move(open)), finished_(std::move(finished)) {}
  void on_ready(std::uint32_t events) override EXCLUDES(mutex_);
  void work() EXCLUDES(mutex_);
  Result<hostca::PartitionCertificates> make(const hostca::PartitionKeys& keys);

  const Open open_;
  const Fd finished_;
  std::unique_ptr<hostca::HostCa> ca_;  // the thread's
  Mutex mutex_;
  std::condition_variable_any wake_;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::size_t unfinished_ GUARDED_BY(mutex_) = 0;
  std::deque<Job> waiting_ GUARDED_BY(mutex_);
  std::deque<Job> done_ GUARDED_BY(mutex_);
  Watch watch_;
  Thread thread_;
};

}  // namespace bulkhead::daemon
