// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostca/host_ca.h"
#include "hostca/state_directory.h"
#include "hostca/tpm/host_tpm.h"

namespace bulkhead::hostca {

// The host's TPM with the key of its partition CA, whose secret is kept in the directory, and made
// if there is none yet.
struct EnrolledTpm {
  std::unique_ptr<HostTpm> tpm;
  Endorsement endorsement;
  TpmPublic ca_key;
};
Result<EnrolledTpm> open_enrolled_tpm(const StateDirectory& state, const std::string& where);

// The partition CA that the directory holds: in the TPM, or in software where that was chosen.
// kNotFound if the host is not enrolled.
Result<std::unique_ptr<HostCa>> open_host_ca(const StateDirectory& state, const std::string& where);

}  // namespace bulkhead::hostca
