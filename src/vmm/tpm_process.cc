// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm_process.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "base/log.h"
#include "seal/key_file.h"
#include "vmm/launch_facts.h"
#include "vmm/tpm_certificates.h"
#include "vtpm/platform.h"

namespace bulkhead {
namespace {

Result<MonitorIdentity> identify(const LaunchSpec& spec, const Measurer& measurer) {
  const Fd vmm = TRY(Fd::open("/proc/self/exe", O_RDONLY));
  const std::string vtpm_path = "/proc/self/fd/" + std::to_string(spec.tpm->program_fd);
  const Fd vtpm = TRY(Fd::open(vtpm_path.c_str(), O_RDONLY));
  return identify_monitor(vmm.get(), vtpm.get(), [&](int fd) { return measurer.program(fd); });
}

Result<Fd> memory_file(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return os_error("cannot make memory for the TPM's state");
  return fd;
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
  Measurer measurer(spec.tpm->certifier);
  MonitorIdentity identity = TRY(identify(spec, measurer));
  std::unique_ptr<TpmProcess> tpm(new TpmProcess(spec, std::move(measurer), std::move(identity)));
  tpm->certifier_ = certifier_of(spec);
  if (spec.tpm->state_fd < 0) tpm->transient_ = TRY(make_transient());
  TRY(tpm->start());
  return tpm;
}

Result<TpmProcess::Transient> TpmProcess::make_transient() {
  Fd state = TRY(memory_file("bulkhead-tpm"));
  Fd counter = TRY(memory_file("bulkhead-tpm-counter"));
  return Transient{std::move(state), std::move(counter), TRY(SecretBytes::random(kAeadKeyBytes))};
}

Result<void> TpmProcess::start() {
  if (transient_) {
    const vtpm::StateFiles files{transient_->state.get(), transient_->counter.get(),
                                 transient_->key};
    process_ =
        TRY(vtpm::ProcessHandle::start({.program_fd = spec_.tpm->program_fd, .state = &files}));
    return {};
  }
  return start_lasting();
}

Result<void> TpmProcess::start_lasting() {
  KeyDescriptor source = TRY(KeyDescriptor::create(spec_.seal.key_fd));
  const SecretBytes key = TRY(source.key());
  const StateCounter counter = spec_.tpm->counter_in;
  if (counter != StateCounter::kFile && !spec_.tpm->certifier.empty()) {
    relay_ = TRY(CounterRelay::start(CounterRelay::by_daemon(spec_.tpm->certifier),
                                     counter == StateCounter::kAuto));
  }
  const vtpm::StateFiles files{.state_fd = spec_.tpm->state_fd,
                               .counter_fd = spec_.tpm->counter_fd,
                               .partition_key = key,
                               .host_counter_fd = relay_ ? relay_->process_end() : -1};
  process_ =
      TRY(vtpm::ProcessHandle::start({.program_fd = spec_.tpm->program_fd, .state = &files}));
  return {};
}

TpmState TpmProcess::state() const {
  if (transient_) return TpmState::kTransient;
  return relay_ && relay_->has_counted() ? TpmState::kHostCounter : TpmState::kFileCounter;
}

// Who demanded the host's TPM gets nothing less.
Result<void> TpmProcess::check_counter() {
  if (state() != TpmState::kFileCounter) return {};
  if (spec_.tpm->counter_in == StateCounter::kHost) {
    return Error{Errc::kUnsupported, 0,
                 "the TPM's state is not counted by the host's TPM, as was demanded: it was made "
                 "without, or there is no bulkheadd with a TPM"};
  }
  log_warning("tpm_counted_by_file",
              {{"meaning", "weaker than a hardware TPM: who puts back both files is not noticed"}});
  return {};
}

Result<bool> TpmProcess::has_measured_banks() {
  const PcrSelections banks = TRY(vtpm::Platform(*this).banks());
  return std::ranges::is_permutation(banks, kMeasuredBanks, {}, &PcrSelection::bank, to_tpm) &&
         std::ranges::all_of(
             banks, [](const PcrSelection& bank) { return bank.pcrs == (1U << kPcrCount) - 1; });
}

// A bank that is not measured into would be the guest's to fill.
Result<void> TpmProcess::choose_measured_banks() {
  vtpm::Platform platform(*this);
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
  if (certifier_.empty()) return leave_uncertified(*this);
  const Result<void> certified = certify_tpm(*this, certifier_);
  if (!certified) log_failure("tpm_not_certified", certified.error());
  if (!certified && process_->client().failed()) return certified.error();
  return {};
}

Result<void> TpmProcess::restart() {
  TRY(choose_measured_banks());
  TRY(check_counter());
  return certify();
}

Result<std::size_t> TpmProcess::execute(TpmLocality locality, std::span<const std::byte> command,
                                        std::span<std::byte, kTpmBufferBytes> response) {
  if (process_ == nullptr) return Error{Errc::kClosed, 0, "the TPM is suspended"};
  return process_->client().execute(locality, command, response);
}

void TpmProcess::cancel() {
  if (process_ != nullptr) process_->client().cancel();
}

// One key, one use: the nonce may be any.
Result<TpmProcess::Parked> TpmProcess::seal(std::span<std::byte> state) {
  Parked parked{.key = TRY(SecretBytes::random(kAeadKeyBytes)), .state = {}};
  Aead aead = TRY(Aead::create(parked.key));
  AeadCounter counter(1);
  parked.state.resize(state.size());
  parked.tag = TRY(aead.seal(TRY(counter.take()), {AeadNonce{}, {}, state}, parked.state));
  return parked;
}

Result<void> TpmProcess::park() {
  if (process_->client().failed()) return {};
  std::vector<std::byte> state = TRY(process_->client().volatile_state());
  Result<Parked> parked = seal(state);
  wipe(state);
  parked_ = TRY(std::move(parked));
  process_.reset();
  return {};
}

Result<void> TpmProcess::unpark() {
  if (!parked_) return {};
  const Parked parked = std::move(*parked_);
  parked_.reset();
  std::vector<std::byte> state(parked.state.size());
  Aead aead = TRY(Aead::create(parked.key));
  TRY(aead.open({AeadNonce{}, {}, parked.state}, parked.tag, state));
  Result<void> started = start();
  if (started) started = process_->client().init(state);
  wipe(state);
  return started;
}

}  // namespace bulkhead
