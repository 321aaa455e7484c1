// SPDX-License-Identifier: Apache-2.0
// Certificates for the keys of a partition's TPM.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "crypto/random.h"
#include "daemon/server_client.h"

namespace bulkhead::daemon {
namespace {

Result<Bytes> read_public_area(ByteReader& reader, std::uint32_t length) {
  if (length > kMaxPublicArea) return Error{Errc::kMalformed, 0, "a key's public area is too long"};
  return copy_of(TRY(reader.take(length)));
}

Result<Fd> make_file(const hostca::PartitionCertificates& made) {
  std::vector<std::byte> content;
  for (const Bytes* part : {&made.endorsement_key, &made.attestation_key, &made.chain}) {
    const std::size_t at = content.size();
    content.resize(at + sizeof(std::uint32_t));
    put_le(std::span(content), at, static_cast<std::uint32_t>(part->size()));
    content.insert(content.end(), part->begin(), part->end());
  }
  if (content.size() > kMaxCertificatesFile) {
    return Error{Errc::kExhausted, 0, "the host's certificates are too long"};
  }
  Fd file(::memfd_create("bulkhead-certificates", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid() ||
      ::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    return os_error("cannot make a memory file");
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return os_error("cannot seal a memory file");
  }
  return file;
}

}  // namespace

// A process may ask first and execute the monitor's program then, with its request still on the
// way. So a request has to hold what was only said to a process that was the monitor already.
Result<void> Server::challenge(Client& client, Reply& reply) {
  if (options_.certifier == nullptr || !options_.monitors) {
    return Error{Errc::kUnsupported, 0, "this daemon issues no certificates"};
  }
  client.nonce.reset();
  TRY(options_.monitors->judge(client.peer(), client.sender, options_.switches));
  TRY(random_bytes(client.nonce.emplace()));
  reply.body.put(std::span<const std::byte>(*client.nonce));
  return {};
}

Result<void> Server::certify(Client& client, ByteReader& reader, Reply& reply) {
  if (options_.certifier == nullptr || !options_.monitors) {
    return Error{Errc::kUnsupported, 0, "this daemon issues no certificates"};
  }
  const auto nonce = TRY(reader.take(kNonceBytes));
  const auto endorsement_bytes = TRY(reader.read<std::uint32_t>());
  const auto attestation_bytes = TRY(reader.read<std::uint32_t>());
  hostca::PartitionKeys keys;
  keys.endorsement_key = TRY(read_public_area(reader, endorsement_bytes));
  keys.attestation_key = TRY(read_public_area(reader, attestation_bytes));
  if (!reader.empty()) return Error{Errc::kMalformed, 0, "the request has a wrong length"};
  const bool challenged = client.nonce && std::ranges::equal(*client.nonce, nonce);
  client.nonce.reset();
  if (!challenged && options_.wants_challenge) {
    return Error{Errc::kPermission, 0, "ask for a challenge first"};
  }
  TRY(options_.monitors->judge(client.peer(), client.sender, options_.switches));
  if (client.waiting) return Error{Errc::kBusy, 0, "one request at a time"};
  TRY(options_.certifier->certify(
      std::move(keys),
      [this, id = client.id, serial = reply.serial](
          const Result<hostca::PartitionCertificates>& made) { certified(id, serial, made); }));
  client.waiting = true;
  reply.later = true;
  return {};
}

void Server::certified(std::uint64_t id, std::uint32_t serial,
                       const Result<hostca::PartitionCertificates>& made) {
  Client* const client = stop_waiting(id);
  if (client == nullptr) return;
  if (!made) return client->answer(made.error(), serial);
  Reply reply(serial);
  Result<Fd> file = make_file(*made);
  if (!file) return client->answer(file.error(), serial);
  reply.file = std::move(*file);
  log_info("certified", {{"uid", client->peer().uid}, {"pid", client->peer().process.pid}});
  client->answer(std::move(reply), serial);
}

}  // namespace bulkhead::daemon
