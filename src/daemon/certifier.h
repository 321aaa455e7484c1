// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "daemon/worker.h"
#include "hostca/host_ca.h"

namespace bulkhead::daemon {

// Has certificates made on a thread of its own: a TPM takes its time.
class Certifier final {
 public:
  // Opens the partition CA; called on that thread, before the first job and after each failure.
  using Open = std::function<Result<std::unique_ptr<hostca::HostCa>>()>;
  // Called on the loop's thread.
  using Done = std::function<void(Result<hostca::PartitionCertificates>)>;

  static Result<std::unique_ptr<Certifier>> create(EventLoop& loop, Open open);

  // kBusy if too many wait.
  Result<void> certify(hostca::PartitionKeys keys, Done done);

 private:
  explicit Certifier(Open open) : open_(std::move(open)) {}
  Result<hostca::PartitionCertificates> make(const hostca::PartitionKeys& keys);

  const Open open_;
  std::unique_ptr<hostca::HostCa> ca_;  // the thread's
  std::unique_ptr<Worker> worker_;  // its end waits for a TPM's: in mid-command none can be left
};

}  // namespace bulkhead::daemon
