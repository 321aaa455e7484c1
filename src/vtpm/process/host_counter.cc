// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/host_counter.h"

#include <algorithm>

#include "seal/key_derivation.h"

namespace bulkhead::vtpm {

Result<RemoteCounter> RemoteCounter::create(int socket, const SecretBytes& state_key) {
  const SealScope scope{Purpose("vtpm-host"), StoreId()};
  return RemoteCounter(socket, TRY(derive_seal_key(state_key, scope, KeyRole::kAnchor)));
}

Result<CounterValue> RemoteCounter::ask(CounterAction action, std::uint32_t index) {
  CounterRequest request{.action = action, .index = index, .password = {}};
  std::ranges::copy(password_.bytes(), request.password.begin());
  const Result<void> sent = send_counter_request(socket_, request);
  wipe(request.password);
  TRY(sent);
  return receive_counter_answer(socket_);
}

}  // namespace bulkhead::vtpm
