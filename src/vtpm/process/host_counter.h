// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crypto/secret_bytes.h"
#include "vtpm/counter_protocol.h"

namespace bulkhead::vtpm {

// Counters in the host's TPM.
class HostCounter {
 public:
  virtual ~HostCounter() = default;

  // kNotFound: there is no such TPM, and a file has to do.
  virtual Result<CounterValue> make() = 0;
  virtual Result<CounterValue> read(std::uint32_t index) = 0;
  // Counts one up.
  virtual Result<CounterValue> step(std::uint32_t index) = 0;
};

// Has the monitor ask, over a socket that stays the caller's. The counters' password is derived
// from the state's key: who cannot read the state cannot have them count.
class RemoteCounter final : public HostCounter {
 public:
  static Result<RemoteCounter> create(int socket, const SecretBytes& state_key);

  Result<CounterValue> make() override { return ask(CounterAction::kMake, 0); }
  Result<CounterValue> read(std::uint32_t index) override {
    return ask(CounterAction::kRead, index);
  }
  Result<CounterValue> step(std::uint32_t index) override {
    return ask(CounterAction::kStep, index);
  }

 private:
  RemoteCounter(int socket, SecretBytes password)
      : socket_(socket), password_(std::move(password)) {}
  Result<CounterValue> ask(CounterAction action, std::uint32_t index);

  int socket_;
  SecretBytes password_;
};

}  // namespace bulkhead::vtpm
