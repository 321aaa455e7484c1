// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <array>

#include "daemon/server.h"

namespace bulkhead::daemon {

struct Server::Reply {
  explicit Reply(std::uint32_t request, std::uint32_t status = 0)
      : serial(request), body(status, request) {}

  const std::uint32_t serial;
  Body body;
  Fd file;
  bool later = false;  // it comes when it is made
};

// One connection. Reads a request, has it answered, and is dropped if it does not take the answer.
class Server::Client final : public EventHandler {
 public:
  Client(Server& server, Fd connection, Peer peer, std::uint64_t client_id)
      : id(client_id),
        server_(server),
        connection_(std::move(connection)),
        peer_(std::move(peer)) {}

  Result<void> start();
  void on_ready(std::uint32_t events) override;
  void close();

  bool closed() const { return !connection_.valid(); }
  const Peer& peer() const { return peer_; }

  void answer(const Result<Reply>& reply, std::uint32_t serial);

  const std::uint64_t id;
  pid_t sender = 0;  // of the packet that is being read, as the kernel says
  bool greeted = false;
  bool waiting = false;  // for an answer that takes its time
  Fd file;               // that came with the packet that is being read
  std::optional<PartitionId> partition;
  std::optional<std::array<std::byte, kNonceBytes>> nonce;  // good for one request

 private:
  ssize_t receive(std::span<std::byte> packet);
  void take_control(msghdr& message);
  void send(const Reply& reply);

  Server& server_;
  Fd connection_;
  Peer peer_;
  Watch watch_;
};

// The process of one partition, connected or not.
class Server::Owner final : public EventHandler {
 public:
  Owner(Server& server, PartitionId id, Fd pidfd)
      : partition(id), server_(server), pidfd_(std::move(pidfd)) {}

  Result<void> start();
  void on_ready(std::uint32_t events) override;

  const PartitionId partition;
  bool dead = false;

 private:
  Server& server_;
  Fd pidfd_;
  Watch watch_;
};

}  // namespace bulkhead::daemon
