// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "crypto/aead.h"
#include "crypto/secret_bytes.h"
#include "devices/tpm.h"
#include "measure/measured_text.h"
#include "vmm/counter_relay.h"
#include "vmm/launch_spec.h"
#include "vmm/measurer.h"
#include "vtpm/process_handle.h"

namespace bulkhead {

// The partition's TPM: one process at a time, over all reboots and suspensions of the guest.
class TpmProcess final : public Tpm {
 public:
  // Nothing if the specification has no TPM. `spec` outlives it.
  static Result<std::unique_ptr<TpmProcess>> create(const LaunchSpec& spec);

  // Powers it off and on, starts it with the banks that are measured into, and has its keys
  // certified: before each start of the guest. A state that is refused shows here. That nobody
  // certifies its keys is no error: who relies on it will see.
  Result<void> restart();

  // Ends the process; what it alone knew is sealed here. No command may be under way, and none runs
  // until unpark(). A TPM that has failed stays as it is.
  Result<void> park();
  // Goes on where park() was, in a new process. An error: there is no TPM any more.
  Result<void> unpark();

  Result<std::size_t> execute(TpmLocality locality, std::span<const std::byte> command,
                              std::span<std::byte, kTpmBufferBytes> response) override;
  void cancel() override;

  // What the monitor is, and this TPM's program.
  const MonitorIdentity& identity() const { return identity_; }
  const Measurer& measurer() const { return measurer_; }
  // What keeps its state from being rolled back. Known once it was restarted.
  TpmState state() const;

 private:
  // Where the permanent state of a TPM is that ends with the partition: sealed like any other.
  struct Transient {
    Fd state;
    Fd counter;
    SecretBytes key;
  };
  struct Parked {
    SecretBytes key;  // of this one state
    AeadTag tag{};
    std::vector<std::byte> state;  // volatile, sealed
  };

  TpmProcess(const LaunchSpec& spec, Measurer measurer, MonitorIdentity identity)
      : spec_(spec), measurer_(std::move(measurer)), identity_(std::move(identity)) {}
  Result<void> start();
  Result<void> start_lasting();
  Result<void> check_counter();
  static Result<Transient> make_transient();
  static Result<Parked> seal(std::span<std::byte> state);
  Result<bool> has_measured_banks();
  Result<void> choose_measured_banks();
  Result<void> certify();

  const LaunchSpec& spec_;
  const Measurer measurer_;
  const MonitorIdentity identity_;
  std::string certifier_;                         // socket of who certifies its keys; empty: nobody
  std::optional<Transient> transient_;            // unless the state lasts
  std::unique_ptr<CounterRelay> relay_;           // null: a file alone counts
  std::unique_ptr<vtpm::ProcessHandle> process_;  // null while parked
  std::optional<Parked> parked_;
};

}  // namespace bulkhead
