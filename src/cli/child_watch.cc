// SPDX-License-Identifier: Apache-2.0
#include "cli/child_watch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace bulkhead::cli {
namespace {

constexpr std::array kWatched{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCHLD};
// A monitor that has been asked to end is given this long, then it is killed.
constexpr timespec kGrace{5, 0};

}  // namespace

ChildWatch::ChildWatch() {
  ::sigemptyset(&watched_);
  for (int signal : kWatched) ::sigaddset(&watched_, signal);
  ::sigprocmask(SIG_BLOCK, &watched_, &original_);
}

ChildWatch::~ChildWatch() {
  ::sigprocmask(SIG_SETMASK, &original_, nullptr);
}

void ChildWatch::release_in_child() const {
  ::sigprocmask(SIG_SETMASK, &original_, nullptr);
}

int ChildWatch::wait(pid_t child, RawTerminal& terminal) {
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      terminal.restore();
      return status;
    }
    const timespec* patience = requests_ > 0 ? &kGrace : nullptr;
    const int signal = ::sigtimedwait(&watched_, nullptr, patience);
    if (signal > 0) {
      handle(signal, child, terminal);
    } else if (errno == EAGAIN) {
      ::kill(child, SIGKILL);
    }
  }
}

void ChildWatch::handle(int signal, pid_t child, RawTerminal& terminal) {
  if (signal == SIGCHLD) return;  // wait() looks
  if (signal == SIGTSTP) return stop_with(child, terminal);
  // The monitor ends in order for SIGTERM; who asks again does not want to wait.
  ::kill(child, ++requests_ == 1 ? SIGTERM : SIGKILL);
}

void ChildWatch::stop_with(pid_t child, RawTerminal& terminal) {
  ::kill(child, SIGSTOP);
  terminal.restore();
  ::raise(SIGSTOP);
  terminal.enter();  // continued
  ::kill(child, SIGCONT);
}

bool killed_on_request(int wait_status) {
  const int signal = WTERMSIG(wait_status);
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

}  // namespace bulkhead::cli
