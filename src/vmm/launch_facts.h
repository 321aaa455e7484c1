// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "measure/measured_launch.h"
#include "vmm/launch_spec.h"

// What is measured of a partition before its first instruction (docs/measured-boot.md), taken from
// its specification: for the monitor, and for `bulkhead measure`.

namespace bulkhead {

// The programs that run for a partition with a TPM, by their content.
Result<MonitorIdentity> identify_monitor(int vmm_fd, int vtpm_fd);

MeasuredConfig measured_config(const LaunchSpec& spec);

// What the monitor will measure of a partition with a TPM that is started from this specification,
// whose kernel and initrd are open. Nothing else needs to be.
Result<LaunchFacts> predict_facts(const LaunchSpec& spec, const MonitorIdentity& monitor);

// A kernel that nobody else can change between its measurement and its use: a copy.
class MeasuredKernel {
 public:
  static Result<MeasuredKernel> copy(int kernel_fd);

  int fd() const { return copy_.get(); }
  const DigestSet& digests() const { return digests_; }

 private:
  MeasuredKernel(Fd copy, DigestSet digests)
      : copy_(std::move(copy)), digests_(std::move(digests)) {}

  Fd copy_;
  DigestSet digests_;
};

}  // namespace bulkhead
