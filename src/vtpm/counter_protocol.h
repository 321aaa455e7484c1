// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/host_counter.h"
#include "base/result.h"

// How a `bulkhead-vtpm` asks its monitor for a counter in the host's TPM, over a socket of its own:
// docs/formats/vtpm.md. One datagram of a SOCK_SEQPACKET pair is one message; one request at a
// time.

namespace bulkhead::vtpm {

struct CounterRequest {
  CounterAction action = CounterAction::kRead;
  std::uint32_t index = 0;  // of the TPM's NV memory
  std::array<std::byte, kCounterPasswordBytes> password{};
};

Result<void> send_counter_request(int socket, const CounterRequest& request);
// kNotFound: there is no TPM to count. kClosed: it cannot be asked, or refused.
Result<CounterValue> receive_counter_answer(int socket);

// The monitor's side. kClosed when the process has gone.
Result<CounterRequest> receive_counter_request(int socket);
// Of an error the process learns only whether it is kNotFound.
Result<void> send_counter_answer(int socket, const Result<CounterValue>& answer);

}  // namespace bulkhead::vtpm
