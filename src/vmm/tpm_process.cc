// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_process.h"

#include "seal/key_file.h"

namespace bulkhead {

Result<std::unique_ptr<TpmProcess>> TpmProcess::create(const LaunchSpec& spec) {
  if (!spec.tpm) return std::unique_ptr<TpmProcess>();
  vtpm::ProcessHandle::Request request{.program_fd = spec.tpm->program_fd};
  if (spec.tpm->state_fd < 0) {
    return std::unique_ptr<TpmProcess>(new TpmProcess(TRY(vtpm::ProcessHandle::start(request))));
  }
  KeyDescriptor source = TRY(KeyDescriptor::create(spec.seal.key_fd));
  const SecretBytes key = TRY(source.key());
  const vtpm::StateFiles files{spec.tpm->state_fd, spec.tpm->counter_fd, key};
  request.state = &files;
  return std::unique_ptr<TpmProcess>(new TpmProcess(TRY(vtpm::ProcessHandle::start(request))));
}

Result<void> TpmProcess::restart() {
  TRY(process_->client().init());
  return process_->client().startup();
}

}  // namespace bulkhead
