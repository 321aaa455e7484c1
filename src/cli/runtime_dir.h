// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"

// Where running partitions are found: one directory each, /run/bulkhead/NAME for root and
// $XDG_RUNTIME_DIR/bulkhead/NAME for others. A partition lives as long as its monitor holds the
// flock(2) on that directory; the kernel drops it however the monitor ends, so what an entry of a
// killed partition leaves behind is recognised, and removed by the next command.

namespace bulkhead::cli {

// A partition's directory, locked for as long as the descriptor, or a copy of it, is open.
struct RuntimeEntry {
  std::string name;
  std::string path;
  Fd directory;
};

class RuntimeDir {
 public:
  // The caller's own. BULKHEAD_RUNTIME_DIR overrides the usual place. Throws HostError.
  static RuntimeDir open();
  explicit RuntimeDir(std::string path) : path_(std::move(path)) {}

  // A new, empty entry. Throws UsageError when a live partition has the name.
  RuntimeEntry claim(const std::string& name) const;
  // The same for the first free name of p1, p2, ...
  RuntimeEntry claim_any() const;

  // The names of live partitions, sorted. Removes what dead ones left.
  std::vector<std::string> live() const;
  bool is_live(const std::string& name) const;
  // Whether the partition is dead by then. A process that has closed its socket still has its lock
  // for a moment.
  bool wait_until_dead(const std::string& name, int timeout_ms) const;
  // Removes the entry if its partition is dead.
  void remove_if_dead(const std::string& name) const;

  std::string entry_path(const std::string& name) const { return path_ + "/" + name; }
  // The monitor's process id, or 0.
  pid_t pid_of(const std::string& name) const;

 private:
  // nullopt-like: an invalid descriptor means that the name is taken.
  Fd try_claim(const std::string& entry) const;

  std::string path_;
};

// A listening, non-blocking socket at control.sock in the entry.
Fd listen_control(const RuntimeEntry& entry);
// Connects to a partition's control socket. Throws HostError.
Fd connect_control(const RuntimeDir& runtime, const std::string& name);
void write_pid_file(int directory, pid_t pid);

}  // namespace bulkhead::cli
