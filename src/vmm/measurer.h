// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "mem/daemon_connection.h"
#include "vmm/launch_facts.h"

namespace bulkhead {

// Measures for one partition. bulkheadd does it once for all partitions, and is asked where there
// is one: it certifies what the digests end up in, and could lie about that as well. Only root's is
// believed, for the monitor is told its socket by whoever starts it. Without one, or if it does not
// answer, everything is measured here.
class Measurer {
 public:
  // An empty socket: no daemon. `daemon_uid` is for tests.
  explicit Measurer(std::string daemon_socket, uid_t daemon_uid = 0)
      : socket_(std::move(daemon_socket)), daemon_uid_(daemon_uid) {}

  // A program that runs already, or will from this very file.
  Result<DigestSet> program(int fd) const;
  Result<MeasuredCopy> copy(int fd) const;
  // Nothing where the daemon does not help: what was loaded is to be measured then.
  std::optional<MeasuredCopy> copy_of_daemon(int fd) const;

 private:
  using Copy = daemon::Connection::Copy;
  std::optional<daemon::MeasuredFile> ask(int fd, Copy copy) const;
  Result<daemon::MeasuredFile> ask_daemon(int fd, Copy copy) const;

  const std::string socket_;
  const uid_t daemon_uid_;
};

}  // namespace bulkhead
