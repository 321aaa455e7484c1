// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <csignal>

#include "cli/terminal.h"

namespace bulkhead::cli {

// Waits for the monitor while the terminal is raw. Signals that would end or stop this process are
// held back and handled one by one, so that there is no moment at which one could leave the
// terminal raw: the monitor is ended first, or stopped, and the terminal restored.
class ChildWatch {
 public:
  ChildWatch();
  ChildWatch(const ChildWatch&) = delete;
  ChildWatch& operator=(const ChildWatch&) = delete;
  ~ChildWatch();

  // In the child, before exec: signals work as they did.
  void release_in_child() const;
  // Until the child has ended; returns its wait status.
  int wait(pid_t child, RawTerminal& terminal);

 private:
  void handle(int signal, pid_t child, RawTerminal& terminal);
  void stop_with(pid_t child, RawTerminal& terminal);

  sigset_t watched_{};
  sigset_t original_{};
  int requests_ = 0;  // to end the partition
};

// Whether the wait status says: by a signal that users send to end a program.
bool killed_on_request(int wait_status);

}  // namespace bulkhead::cli
