// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock_table.h"

#include <algorithm>

namespace bulkhead {
namespace {

// Ports of host clients count from here, as Firecracker's do.
constexpr std::uint32_t kFirstHostPort = std::uint32_t{1} << 30;
constexpr std::uint32_t kHostPorts = std::uint32_t{1} << 30;

// What the guest may send ahead, on each connection. A hostile guest can have all of it buffered
// here, so the first connections get enough for speed, and the others for progress: 24 MiB.
constexpr std::size_t kWideConnections = 32;
constexpr std::uint32_t kWideWindow = 256 * 1024;
constexpr std::uint32_t kNarrowWindow = 16 * 1024;

std::uint64_t key_of(const VsockPorts& ports) {
  return std::uint64_t{ports.host} << 32 | ports.guest;
}

}  // namespace

VsockConnection* VsockTable::find(const VsockPorts& ports) const {
  const auto found = connections_.find(key_of(ports));
  if (found == connections_.end()) return nullptr;
  VsockConnection* connection = found->second.get();
  return connection->state() == VsockConnection::State::kGreeting ? nullptr : connection;
}

VsockConnection& VsockTable::add(VsockConnection::Owner& owner, Fd socket,
                                 VsockConnection::Setup setup) {
  CHECK(!full());
  setup.window = size() < kWideConnections ? kWideWindow : kNarrowWindow;
  auto connection = std::make_unique<VsockConnection>(owner, std::move(socket), setup);
  const auto [place, added] = connections_.emplace(key_of(setup.ports), std::move(connection));
  CHECK(added);
  return *place->second;
}

bool VsockTable::rename(const VsockPorts& from, const VsockConnection& connection) {
  auto node = connections_.extract(key_of(from));
  CHECK(!node.empty() && node.mapped().get() == &connection);
  node.key() = key_of(connection.ports());
  auto outcome = connections_.insert(std::move(node));
  if (!outcome.inserted) bury(std::move(outcome.node.mapped()));
  return outcome.inserted;
}

void VsockTable::remove(VsockConnection& connection) {
  const auto found = connections_.find(key_of(connection.ports()));
  CHECK(found != connections_.end() && found->second.get() == &connection);
  bury(std::move(found->second));
  connections_.erase(found);
}

void VsockTable::clear() {
  for (auto& [key, connection] : connections_) bury(std::move(connection));
  connections_.clear();
}

void VsockTable::bury(std::unique_ptr<VsockConnection> connection) {
  connection->kill();
  removed_.push_back(std::move(connection));
}

std::uint32_t VsockTable::unused_host_port() {
  const auto used = [this](std::uint32_t port) {
    return std::ranges::any_of(
        connections_, [port](const auto& entry) { return entry.second->ports().host == port; });
  };
  // Ends: there are more ports than connections.
  std::uint32_t port = 0;
  do {
    port = kFirstHostPort + next_port_;
    next_port_ = (next_port_ + 1) % kHostPorts;
  } while (used(port));
  return port;
}

VsockTable::Deadlines VsockTable::deadlines(std::int64_t now_ms) const {
  Deadlines found;
  for (const auto& [key, connection] : connections_) {
    const std::int64_t deadline = connection->deadline_ms();
    if (deadline == 0) continue;
    if (deadline <= now_ms) {
      found.passed.push_back(connection.get());
    } else if (found.next_ms == 0 || deadline < found.next_ms) {
      found.next_ms = deadline;
    }
  }
  return found;
}

}  // namespace bulkhead
