// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "measure/measured_launch.h"
#include "vmm/launch_spec.h"

// What is measured of a partition before its first instruction (docs/measured-boot.md), taken from
// its specification: for the monitor, and for `bulkhead measure`.

namespace bulkhead {

Result<DigestSet> measure_program(int fd);

// The programs that run for a partition with a TPM, by their content: measured here, or by what is
// given, in its way.
using MeasureProgram = std::function<Result<DigestSet>(int fd)>;
Result<MonitorIdentity> identify_monitor(int vmm_fd, int vtpm_fd,
                                         const MeasureProgram& measure = measure_program);

MeasuredConfig measured_config(const LaunchSpec& spec, TpmState tpm_state);

// What the monitor will measure of a partition with a TPM that is started from this specification,
// whose kernel and initrd are open. Nothing else needs to be.
Result<LaunchFacts> predict_facts(const LaunchSpec& spec, TpmState tpm_state,
                                  const MonitorIdentity& monitor);

// A kernel or an initrd that nobody else can change between its measurement and its use: a copy.
class MeasuredCopy {
 public:
  static Result<MeasuredCopy> make(int file_fd);
  // One that has been made and measured before.
  MeasuredCopy(Fd copy, DigestSet digests) : copy_(std::move(copy)), digests_(std::move(digests)) {}

  int fd() const { return copy_.get(); }
  const DigestSet& digests() const { return digests_; }

 private:
  Fd copy_;
  DigestSet digests_;
};

}  // namespace bulkhead
