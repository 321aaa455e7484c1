// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_process.h"

#include <fcntl.h>

#include <algorithm>
#include <string>

#include "base/log.h"
#include "seal/key_file.h"
#include "vmm/launch_facts.h"
#include "vmm/tpm_certificates.h"
#include "vtpm/platform.h"

namespace bulkhead {
namespace {

Result<MonitorIdentity> identify(const LaunchSpec& spec) {
  const Fd vmm = TRY(Fd::open("/proc/self/exe", O_RDONLY));
  const std::string vtpm_path = "/proc/self/fd/" + std::to_string(spec.tpm->program_fd);
  const Fd vtpm = TRY(Fd::open(vtpm_path.c_str(), O_RDONLY));
  return identify_monitor(vmm.get(), vtpm.get());
}

Result<std::unique_ptr<vtpm::ProcessHandle>> start(const LaunchSpec& spec) {
  vtpm::ProcessHandle::Request request{.program_fd = spec.tpm->program_fd};
  if (spec.tpm->state_fd < 0) return vtpm::ProcessHandle::start(request);
  KeyDescriptor source = TRY(KeyDescriptor::create(spec.seal.key_fd));
  const SecretBytes key = TRY(source.key());
  const vtpm::StateFiles files{spec.tpm->state_fd, spec.tpm->counter_fd, key};
  request.state = &files;
  return vtpm::ProcessHandle::start(request);
}

// Another program than ours is for tests and for who wants it, and has no certificates.
std::string certifier_of(const LaunchSpec& spec) {
  if (spec.tpm->certifier.empty() || is_own_tpm(spec.tpm->program_fd, own_directory())) {
    return spec.tpm->certifier;
  }
  log_warning("tpm_not_certified", {{"reason", "its program is not the monitor's own"}});
  return {};
}

}  // namespace

Result<std::unique_ptr<TpmProcess>> TpmProcess::create(const LaunchSpec& spec) {
  if (!spec.tpm) return std::unique_ptr<TpmProcess>();
  MonitorIdentity identity = TRY(identify(spec));
  return std::unique_ptr<TpmProcess>(
      new TpmProcess(std::move(identity), certifier_of(spec), TRY(start(spec))));
}

Result<bool> TpmProcess::has_measured_banks() {
  const PcrSelections banks = TRY(vtpm::Platform(tpm()).banks());
  return std::ranges::is_permutation(banks, kMeasuredBanks, {}, &PcrSelection::bank, to_tpm) &&
         std::ranges::all_of(
             banks, [](const PcrSelection& bank) { return bank.pcrs == (1U << kPcrCount) - 1; });
}

// A bank that is not measured into would be the guest's to fill.
Result<void> TpmProcess::choose_measured_banks() {
  vtpm::Platform platform(tpm());
  TRY(process_->client().init());
  TRY(platform.startup());
  if (TRY(has_measured_banks())) return {};
  TRY(platform.choose_banks(kMeasuredBanks));
  TRY(process_->client().init());
  TRY(platform.startup());
  if (TRY(has_measured_banks())) return {};
  return Error{Errc::kUnsupported, 0, "the TPM does not have the PCR banks that are measured into"};
}

Result<void> TpmProcess::certify() {
  if (certifier_.empty()) return leave_uncertified(tpm());
  const Result<void> certified = certify_tpm(tpm(), certifier_);
  if (!certified) log_failure("tpm_not_certified", certified.error());
  if (!certified && process_->client().failed()) return certified.error();
  return {};
}

Result<void> TpmProcess::restart() {
  TRY(choose_measured_banks());
  return certify();
}

}  // namespace bulkhead
