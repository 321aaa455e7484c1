// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "daemon/certifier.h"
#include "daemon/frame_keeper.h"
#include "daemon/host_counters.h"
#include "daemon/measured_files.h"
#include "daemon/monitor_check.h"
#include "daemon/process_identity.h"
#include "daemon/scrub_queue.h"
#include "mem/daemon_protocol.h"

namespace bulkhead::daemon {

// bulkheadd's socket: docs/formats/ledger.md. Ends partitions whose process dies. Clients, and what
// is kept for one, are bounded; none is waited for. Single-threaded.
class Server final : private EventHandler {
 public:
  static constexpr std::size_t kMaxClients = 64;

  struct Options {
    Fd listener;  // a listening, non-blocking SOCK_SEQPACKET socket
    std::optional<gid_t> group;
    // Both or none: without, nobody gets certificates. What the certifier makes comes back through
    // the loop, which must not run any more once the server is gone.
    Certifier* certifier = nullptr;
    std::optional<MonitorCheck> monitors = std::nullopt;
    // None: nobody's states are counted. Those of the monitors are.
    HostCounters* counters = nullptr;
    // None: nothing is measured for others. As with the certifier, the loop brings what comes.
    MeasuredFiles* files = nullptr;
    // For tests.
    MonitorCheck::Switches switches{};
    bool wants_challenge = true;
  };

  // Ends the partitions that died while nobody watched.
  static Result<std::unique_ptr<Server>> create(EventLoop& loop, FrameKeeper& keeper,
                                                Options options);
  ~Server() override;

  // A connection that was not accepted from the listener: for tests.
  void admit(Fd connection);
  // From now on nobody gets frames.
  void refuse_takes() { ending_ = true; }
  std::size_t clients() const { return clients_.size(); }

 private:
  class Client;
  class Owner;
  struct Reply;
  using Body = MessageWriter<kMaxReply>;

  Server(EventLoop& loop, FrameKeeper& keeper, Options options);

  void on_ready(std::uint32_t events) override;
  void make_room();
  void forget_gone();

  Result<void> adopt_partitions();
  Result<void> watch_owner(PartitionId partition, const ProcessIdentity& process);
  void owner_died(PartitionId partition);

  Result<Reply> serve(Client& client, std::span<const std::byte> packet);
  Result<void> dispatch(Client& client, Request request, ByteReader& reader, Reply& reply);

  Result<void> hello(Client& client, ByteReader& reader, Reply& reply);
  Result<void> enter(Client& client, ByteReader& reader, Reply& reply);
  Result<void> take(Client& client, ByteReader& reader, Reply& reply);
  Result<void> change(Client& client, Request request, ByteReader& reader);
  Result<void> grant(Client& client, ByteReader& reader, Reply& reply);
  Result<void> snapshot(const Client& client, Reply& reply);
  void list_pools(Reply& reply);

  Result<void> challenge(Client& client, Reply& reply);
  Result<void> certify(Client& client, ByteReader& reader, Reply& reply);
  void certified(std::uint64_t client, std::uint32_t serial,
                 const Result<hostca::PartitionCertificates>& made);
  Result<void> measure(Client& client, ByteReader& reader, Reply& reply);
  void measured(std::uint64_t client, std::uint32_t serial, Result<MeasuredFile> outcome);
  Result<void> count(Client& client, ByteReader& reader, Reply& reply);
  void counted(std::uint64_t client, std::uint32_t serial, const Result<CounterValue>& counter);
  Client* stop_waiting(std::uint64_t client);

  EventLoop& loop_;
  FrameKeeper& keeper_;
  Options options_;
  bool ending_ = false;
  std::uint64_t admitted_ = 0;  // clients so far
  LogLimiter refusals_;
  std::unique_ptr<ScrubQueue> scrubbing_;
  std::vector<std::byte> packet_;  // the one that is being read
  std::vector<std::unique_ptr<Owner>> owners_;
  std::vector<std::unique_ptr<Client>> clients_;  // the oldest first
  Watch watch_;
};

}  // namespace bulkhead::daemon
