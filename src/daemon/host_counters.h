// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "crypto/secret_bytes.h"
#include "daemon/worker.h"
#include "hostca/tpm/host_tpm.h"
#include "mem/daemon_protocol.h"

namespace bulkhead::daemon {

struct CounterRequest {
  CounterAction action = CounterAction::kRead;
  std::uint32_t index = 0;
  SecretBytes secret;
};

// Counters in the host's TPM, asked for on a thread of its own: a TPM takes its time.
class HostCounters final {
 public:
  // Called on that thread.
  using Serve = std::function<Result<CounterValue>(const CounterRequest&)>;
  // Called on the loop's thread.
  using Done = std::function<void(Result<CounterValue>)>;

  static Result<std::unique_ptr<HostCounters>> create(EventLoop& loop, Serve serve);
  // By the TPM that tpm2-tss finds there: opened at the first request, and after each failure.
  static Serve in_tpm(std::string where);

  // kBusy if too many wait.
  Result<void> ask(CounterRequest request, Done done);

 private:
  explicit HostCounters(Serve serve) : serve_(std::move(serve)) {}

  const Serve serve_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace bulkhead::daemon
