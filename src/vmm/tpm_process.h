// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "measure/measured_text.h"
#include "vmm/launch_spec.h"
#include "vtpm/process_handle.h"

namespace bulkhead {

// The partition's TPM: one process, over all reboots of the guest.
class TpmProcess {
 public:
  // Nothing if the specification has no TPM.
  static Result<std::unique_ptr<TpmProcess>> create(const LaunchSpec& spec);

  // Powers it off and on, starts it with the banks that are measured into, and has its keys
  // certified: before each start of the guest. A state that is refused shows here. That nobody
  // certifies its keys is no error: who relies on it will see.
  Result<void> restart();
  Tpm& tpm() { return process_->client(); }
  // What the monitor is, and this TPM's program.
  const MonitorIdentity& identity() const { return identity_; }

 private:
  TpmProcess(MonitorIdentity identity, std::string certifier,
             std::unique_ptr<vtpm::ProcessHandle> process)
      : identity_(std::move(identity)),
        certifier_(std::move(certifier)),
        process_(std::move(process)) {}
  Result<bool> has_measured_banks();
  Result<void> choose_measured_banks();
  Result<void> certify();

  const MonitorIdentity identity_;
  const std::string certifier_;  // socket of who certifies its keys; empty: nobody
  std::unique_ptr<vtpm::ProcessHandle> process_;
};

}  // namespace bulkhead
