// SPDX-License-Identifier: Apache-2.0
// Counters in the host's TPM, for the states of partitions' TPMs.
#include "daemon/server_client.h"

namespace bulkhead::daemon {

// A counter's secret is its password. Making one takes room that a TPM has little of.
Result<void> Server::count(Client& client, ByteReader& reader, Reply& reply) {
  if (options_.counters == nullptr || !options_.monitors) {
    return Error{Errc::kUnsupported, 0, "this daemon keeps no counters"};
  }
  const auto action = static_cast<CounterAction>(TRY(reader.read<std::uint32_t>()));
  const auto index = TRY(reader.read<std::uint32_t>());
  const auto secret = TRY(reader.take(kCounterPasswordBytes));
  if (!is_counter_action(action)) {
    return Error{Errc::kMalformed, 0, "nothing of the kind can be done with a counter"};
  }
  TRY(options_.monitors->judge(client.peer(), client.sender, options_.switches));
  if (client.waiting) return Error{Errc::kBusy, 0, "one request at a time"};
  TRY(options_.counters->ask(
      {.action = action, .index = index, .secret = TRY(SecretBytes::copy_of(secret))},
      [this, id = client.id, serial = reply.serial](const Result<CounterValue>& counter) {
        counted(id, serial, counter);
      }));
  client.waiting = true;
  reply.later = true;
  return {};
}

void Server::counted(std::uint64_t id, std::uint32_t serial, const Result<CounterValue>& counter) {
  Client* const client = stop_waiting(id);
  if (client == nullptr) return;
  if (!counter) return client->answer(counter.error(), serial);
  Reply reply(serial);
  reply.body.put(counter->index).put(std::uint32_t{0}).put(counter->value);
  client->answer(std::move(reply), serial);
}

}  // namespace bulkhead::daemon
