// SPDX-License-Identifier: Apache-2.0
#include "daemon/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>

#include "daemon/server_client.h"

namespace bulkhead::daemon {
namespace {

constexpr int kMaxAccepts = 4;  // a round of the loop

Error malformed(const char* what) {
  return Error{Errc::kMalformed, 0, what};
}

Result<PartitionId> entered(const std::optional<PartitionId>& partition) {
  if (partition) return *partition;
  return Error{Errc::kInvalidArgument, 0, "enter a partition first"};
}

Result<std::string> read_name(ByteReader& reader) {
  const auto field = TRY(reader.take(kNameBytes));
  std::string name(kNameBytes, '\0');
  std::memcpy(name.data(), field.data(), kNameBytes);
  name.resize(std::min(name.find('\0'), kNameBytes));
  if (!ledger::is_partition_name(name)) return malformed("an impossible name of a partition");
  return name;
}

Result<std::vector<FrameRun>> read_runs(ByteReader& reader) {
  const auto count = TRY(reader.read<std::uint32_t>());
  TRY(reader.read<std::uint32_t>());
  if (count > kMaxExtents) return malformed("too many extents");
  if (reader.remaining() != count * kRunBytes) return malformed("the request has a wrong length");
  std::vector<FrameRun> runs;
  for (std::uint32_t i = 0; i < count; ++i) runs.push_back(TRY(read_run(reader)));
  return runs;
}

// Pages of zeroes are left out: most of a ledger is empty.
Result<Fd> make_snapshot_file(std::span<const std::uint64_t> words) {
  Fd file(::memfd_create("bulkhead-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return os_error("cannot make a memory file");
  if (::ftruncate(file.get(), static_cast<off_t>(words.size_bytes())) != 0) {
    return os_error("cannot size the snapshot");
  }
  constexpr std::size_t kStep = kPageSize / sizeof(std::uint64_t);
  for (std::size_t at = 0; at < words.size(); at += kStep) {
    const auto page = words.subspan(at, std::min(kStep, words.size() - at));
    if (std::all_of(page.begin(), page.end(), [](std::uint64_t word) { return word == 0; })) {
      continue;
    }
    const auto offset = static_cast<off_t>(at * sizeof(std::uint64_t));
    if (::pwrite(file.get(), page.data(), page.size_bytes(), offset) !=
        static_cast<ssize_t>(page.size_bytes())) {
      return os_error("cannot write the snapshot");
    }
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return os_error("cannot seal the snapshot");
  }
  return file;
}

}  // namespace

Server::Server(EventLoop& loop, FrameKeeper& keeper, Options options)
    : loop_(loop), keeper_(keeper), options_(std::move(options)), packet_(kMaxRequest) {}

Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(EventLoop& loop, FrameKeeper& keeper,
                                               Options options) {
  std::unique_ptr<Server> server(new Server(loop, keeper, std::move(options)));
  server->scrubbing_ = TRY(ScrubQueue::create(loop, keeper));
  TRY(server->adopt_partitions());
  if (server->options_.listener.valid()) {
    server->watch_ = TRY(Watch::create(loop, server->options_.listener.get(), EPOLLIN, *server));
  }
  return server;
}

Result<void> Server::adopt_partitions() {
  for (const PartitionRecord& partition : keeper_.ledger().view().partitions()) {
    const auto process = identify_process(static_cast<pid_t>(partition.pid));
    if (process && process->start_time == partition.start_time) {
      TRY(watch_owner(partition.id, *process));
    } else if (process || process.error().code == Errc::kNotFound) {
      owner_died(partition.id);
    } else {
      return process.error();
    }
  }
  return {};
}

Result<void> Server::watch_owner(PartitionId partition, const ProcessIdentity& process) {
  const auto known = [&](const auto& owner) { return owner->partition == partition; };
  if (std::any_of(owners_.begin(), owners_.end(), known)) return {};
  auto owner = std::make_unique<Owner>(*this, partition, TRY(process.pidfd.duplicate()));
  TRY(owner->start());
  owners_.push_back(std::move(owner));
  return {};
}

void Server::owner_died(PartitionId partition) {
  keeper_.end_partition(partition);
  scrubbing_->wake();
}

void Server::on_ready(std::uint32_t /*events*/) {
  for (int i = 0; i < kMaxAccepts; ++i) {
    Fd connection(
        ::accept4(options_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      admit(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      make_room();
      return;
    } else {
      return;
    }
  }
}

void Server::admit(Fd connection) {
  forget_gone();
  Result<Peer> peer = identify_peer(connection.get());
  if (!peer || !may_connect(*peer, options_.group)) {
    if (refusals_.allow()) log_info("client-refused", {{"uid", peer ? peer->uid : ~0U}});
    return;
  }
  if (clients_.size() >= kMaxClients) make_room();
  auto client =
      std::make_unique<Client>(*this, std::move(connection), std::move(*peer), ++admitted_);
  if (client->start()) clients_.push_back(std::move(client));
}

// The oldest connection of the user who has most of them: nobody locks the others out. It loses
// nothing but the connection.
void Server::make_room() {
  std::map<uid_t, std::size_t> counts;
  for (const auto& client : clients_) ++counts[client->peer().uid];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == counts.end()) return;
  const auto victim = std::find_if(clients_.begin(), clients_.end(), [&](const auto& client) {
    return client->peer().uid == most->first;
  });
  clients_.erase(victim);
}

void Server::forget_gone() {
  std::erase_if(clients_, [](const auto& client) { return client->closed(); });
  std::erase_if(owners_, [](const auto& owner) { return owner->dead; });
}

Result<Server::Reply> Server::serve(Client& client, std::span<const std::byte> packet) {
  ByteReader reader(packet);
  const auto request = static_cast<Request>(TRY(reader.read<std::uint32_t>()));
  Reply reply(TRY(reader.read<std::uint32_t>()));
  const std::size_t length = request_bytes(request);
  if (length == 0) return malformed("no such request");
  if (packet.size() != length && (!has_more(request) || packet.size() < length)) {
    return malformed("the request has a wrong length");
  }
  if (request != Request::kHello && !client.greeted) return malformed("say hello first");
  TRY(dispatch(client, request, reader, reply));
  return reply;
}

Result<void> Server::dispatch(Client& client, Request request, ByteReader& reader, Reply& reply) {
  switch (request) {
    case Request::kHello:
      return hello(client, reader, reply);
    case Request::kEnter:
      return enter(client, reader, reply);
    case Request::kTake:
      return take(client, reader, reply);
    case Request::kGiveBack:
    case Request::kSeal:
    case Request::kUnseal:
    case Request::kPlace:
    case Request::kRevoke:
      return change(client, request, reader);
    case Request::kGrant:
      return grant(client, reader, reply);
    case Request::kSnapshot:
      return snapshot(client, reply);
    case Request::kPools:
      list_pools(reply);
      return {};
    case Request::kChallenge:
      return challenge(client, reply);
    case Request::kCertify:
      return certify(client, reader, reply);
    case Request::kMeasure:
      return measure(client, reader, reply);
    case Request::kCount:
      return count(client, reader, reply);
  }
  return malformed("no such request");
}

Result<void> Server::hello(Client& client, ByteReader& reader, Reply& reply) {
  if (TRY(reader.read<std::uint32_t>()) != kProtocolVersion) {
    return Error{Errc::kUnsupported, 0, "this daemon speaks version 1"};
  }
  client.greeted = true;
  reply.body.put(kProtocolVersion).put(std::uint32_t{0});
  return {};
}

// One connection speaks for a partition: the process's last one.
Result<void> Server::enter(Client& client, ByteReader& reader, Reply& reply) {
  const std::string name = TRY(read_name(reader));
  const std::vector<FrameRun> held = TRY(read_runs(reader));
  const Peer& peer = client.peer();
  const PartitionId id = TRY(keeper_.enter({.name = name,
                                            .uid = peer.uid,
                                            .pid = static_cast<std::uint32_t>(peer.process.pid),
                                            .start_time = peer.process.start_time},
                                           held));
  TRY(watch_owner(id, peer.process));
  for (const auto& other : clients_) {
    if (other->partition == id) other->partition.reset();
  }
  client.partition = id;
  scrubbing_->wake();
  reply.body.put(std::uint32_t{id.slot}).put(id.generation);
  return {};
}

Result<void> Server::take(Client& client, ByteReader& reader, Reply& reply) {
  const PartitionId id = TRY(entered(client.partition));
  TakeRequest request{.frames = TRY(reader.read<std::uint64_t>())};
  const auto backing = TRY(reader.read<std::uint32_t>());
  const auto node = TRY(reader.read<std::uint32_t>());
  if (backing > static_cast<std::uint32_t>(Backing::kCarved)) return malformed("no such backing");
  request.backing = static_cast<Backing>(backing);
  if (node != ledger::kNoNode) request.numa_node = node;
  if (ending_) return Error{Errc::kBusy, 0, "the daemon is ending"};
  // Its descriptor is /dev/mem, which reaches what other partitions own.
  if (request.backing == Backing::kCarved && client.peer().uid != 0) {
    return Error{Errc::kPermission, 0, "only root gets carved memory"};
  }
  Extent extent = TRY(keeper_.take(id, request));
  reply.body.put(FrameRun{extent.first, extent.frames});
  reply.body.put(backing).put(std::uint32_t{0}).put(extent.file_offset);
  reply.file = std::move(extent.file);
  return {};
}

Result<void> Server::change(Client& client, Request request, ByteReader& reader) {
  const PartitionId id = TRY(entered(client.partition));
  if (request == Request::kRevoke) {
    return keeper_.ledger().revoke(id, GrantId(TRY(reader.read<std::uint64_t>())));
  }
  const FrameRun run = TRY(read_run(reader));
  if (request == Request::kSeal) return keeper_.ledger().seal(id, run);
  if (request == Request::kUnseal) return keeper_.ledger().unseal(id, run);
  if (request == Request::kPlace) {
    return keeper_.ledger().place(id, run, GuestFrame(TRY(reader.read<std::uint64_t>())));
  }
  TRY(keeper_.give_back(id, run));
  scrubbing_->wake();
  return {};
}

Result<void> Server::grant(Client& client, ByteReader& reader, Reply& reply) {
  const PartitionId id = TRY(entered(client.partition));
  GrantRequest request;
  request.pages.first = PageIndex(TRY(reader.read<std::uint64_t>()));
  request.pages.count = TRY(reader.read<std::uint64_t>());
  const auto slot = TRY(reader.read<std::uint32_t>());
  const auto generation = TRY(reader.read<std::uint32_t>());
  const auto rights = TRY(reader.read<std::uint32_t>());
  if (rights == 0 || rights > 3) return malformed("no such rights");
  request.rights = static_cast<Rights>(rights);
  if (slot != kToHostTools) {
    if (slot >= ledger::kMaxPartitions) return malformed("no such partition");
    request.grantee = PartitionId{static_cast<std::uint16_t>(slot), generation};
  }
  reply.body.put(TRY(keeper_.ledger().grant(id, request)).value());
  return {};
}

Result<void> Server::snapshot(const Client& client, Reply& reply) {
  const auto words = keeper_.ledger().words();
  if (client.peer().uid == 0) {
    reply.file = TRY(make_snapshot_file(words));
  } else {
    reply.file = TRY(make_snapshot_file(filtered_copy(words, client.peer().uid)));
  }
  return {};
}

void Server::list_pools(Reply& reply) {
  const std::vector<PoolRecord> pools = keeper_.ledger().pools();
  reply.body.put(static_cast<std::uint32_t>(pools.size())).put(std::uint32_t{0});
  for (std::size_t i = 0; i < pools.size(); ++i) {
    reply.body.put(static_cast<std::uint32_t>(pools[i].backing));
    reply.body.put(pools[i].numa_node ? static_cast<std::uint32_t>(*pools[i].numa_node)
                                      : ledger::kNoNode);
    reply.body.put(pools[i].run.frames).put(keeper_.ledger().free_frames(i));
  }
}

}  // namespace bulkhead::daemon
