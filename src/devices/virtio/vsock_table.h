// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "devices/virtio/vsock_connection.h"

namespace bulkhead {

// Owns the connections of a device. What is removed is killed at once, but freed only by
// free_removed(): the event loop's thread may be just about to call it.
class VsockTable {
 public:
  static constexpr std::size_t kMaxConnections = 1023;

  std::size_t size() const { return connections_.size(); }
  bool full() const { return size() >= kMaxConnections; }

  // One that the guest may know of, or nullptr.
  VsockConnection* find(const VsockPorts& ports) const;
  // Nobody has the ports yet, and the table is not full. Chooses the window.
  VsockConnection& add(VsockConnection::Owner& owner, Fd socket, VsockConnection::Setup setup);
  // The connection had these ports, and has others now. False, and it is removed, when they are
  // taken.
  bool rename(const VsockPorts& from, const VsockConnection& connection);
  void remove(VsockConnection& connection);
  void clear();
  // On the loop's thread, in no connection's handler.
  void free_removed() { removed_.clear(); }

  // A port of the host that no connection has.
  std::uint32_t unused_host_port();

  struct Deadlines {
    std::vector<VsockConnection*> passed;
    std::int64_t next_ms = 0;  // of those to come, the first; 0: none
  };
  Deadlines deadlines(std::int64_t now_ms) const;

 private:
  void bury(std::unique_ptr<VsockConnection> connection);

  std::unordered_map<std::uint64_t, std::unique_ptr<VsockConnection>> connections_;
  std::vector<std::unique_ptr<VsockConnection>> removed_;
  std::uint32_t next_port_ = 0;
};

}  // namespace bulkhead
