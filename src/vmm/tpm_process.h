// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "vmm/launch_spec.h"
#include "vtpm/process_handle.h"

namespace bulkhead {

// The partition's TPM: one process, over all reboots of the guest.
class TpmProcess {
 public:
  // Nothing if the specification has no TPM.
  static Result<std::unique_ptr<TpmProcess>> create(const LaunchSpec& spec);

  // Powers it off and on, and starts it: before each start of the guest. A state that is refused
  // shows here.
  Result<void> restart();
  Tpm& tpm() { return process_->client(); }

 private:
  explicit TpmProcess(std::unique_ptr<vtpm::ProcessHandle> process)
      : process_(std::move(process)) {}

  std::unique_ptr<vtpm::ProcessHandle> process_;
};

}  // namespace bulkhead
