// SPDX-License-Identifier: Apache-2.0
// Digests, and copies that cannot change, of what partitions with a TPM start.
#include <algorithm>

#include "daemon/server_client.h"

namespace bulkhead::daemon {

Result<void> Server::measure(Client& client, ByteReader& reader, Reply& reply) {
  if (options_.files == nullptr) {
    return Error{Errc::kUnsupported, 0, "this daemon measures nothing"};
  }
  const auto copy = TRY(reader.read<std::uint32_t>());
  const auto reserved = TRY(reader.read<std::uint32_t>());
  if (copy > 1 || reserved != 0) return Error{Errc::kMalformed, 0, "no such way to measure"};
  if (!client.file.valid()) {
    return Error{Errc::kInvalidArgument, 0, "no file came with the request"};
  }
  if (client.waiting) return Error{Errc::kBusy, 0, "one request at a time"};
  TRY(options_.files->measure(
      std::move(client.file),
      copy == 1 ? MeasuredFiles::Want::kCopy : MeasuredFiles::Want::kDigests,
      [this, id = client.id, serial = reply.serial](Result<MeasuredFile> outcome) {
        measured(id, serial, std::move(outcome));
      }));
  client.waiting = true;
  reply.later = true;
  return {};
}

void Server::measured(std::uint64_t id, std::uint32_t serial, Result<MeasuredFile> outcome) {
  Client* const client = stop_waiting(id);
  if (client == nullptr) return;
  if (!outcome) return client->answer(outcome.error(), serial);
  Reply reply(serial);
  reply.body.put(std::span<const std::byte>(outcome->digests.sha256));
  reply.body.put(std::span<const std::byte>(outcome->digests.sha384));
  reply.file = std::move(outcome->copy);
  client->answer(std::move(reply), serial);
}

// Null: it is gone.
Server::Client* Server::stop_waiting(std::uint64_t id) {
  const auto found = std::ranges::find_if(
      clients_, [id](const auto& client) { return client->id == id && !client->closed(); });
  if (found == clients_.end()) return nullptr;
  (*found)->waiting = false;
  return found->get();
}

}  // namespace bulkhead::daemon
