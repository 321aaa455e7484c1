// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string_view>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/error.h"
#include "cli/terminal.h"
#include "vmm/console_escape.h"

namespace bulkhead::cli {
namespace {

constexpr std::string_view kHelp =
    "\r\n[bulkhead] Ctrl-A x: leave the console; Ctrl-A h: this help; Ctrl-A Ctrl-A: a Ctrl-A\r\n";

// Carries bytes between the terminal and a partition's console, until one side ends.
class ConsoleSession {
 public:
  explicit ConsoleSession(Fd connection)
      : connection_(std::move(connection)), terminal_(::isatty(STDIN_FILENO) != 0) {
    sigset_t ending;
    ::sigemptyset(&ending);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaddset(&ending, signal);
    ::sigprocmask(SIG_BLOCK, &ending, nullptr);
    signals_ = Fd(::signalfd(-1, &ending, SFD_CLOEXEC));
  }

  int run() {
    std::optional<RawTerminal> raw;
    if (terminal_) raw.emplace(STDIN_FILENO);
    while (!status_) step();
    return *status_;
  }

 private:
  void step() {
    std::array<pollfd, 3> ready{{{connection_.get(), POLLIN, 0},
                                 {signals_.get(), POLLIN, 0},
                                 {input_open_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0) return;
    if (ready[0].revents != 0) forward_output();
    if (ready[1].revents != 0) take_signal();
    if (ready[2].revents != 0) forward_input();
  }

  void take_signal() {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      status_ = 128 + static_cast<int>(info.ssi_signo);
    }
  }

  void forward_output() {
    std::array<char, 4096> buffer;
    const ssize_t got = ::recv(connection_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      status_ = kExitOk;  // the partition has ended
      return;
    }
    show({buffer.data(), static_cast<std::size_t>(got)});
  }

  void show(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
      if (written < 0) {
        status_ = kExitHost;
        return;
      }
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void forward_input() {
    std::array<std::byte, 4096> buffer;
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got <= 0) {
      input_open_ = false;
      return;
    }
    std::string kept;
    for (std::byte byte : std::span(buffer).first(static_cast<std::size_t>(got))) {
      const EscapeFilter::Typed typed =
          terminal_ ? filter_.feed(byte) : EscapeFilter::Typed{byte, EscapeCommand::kNone};
      if (typed.byte) kept.push_back(std::to_integer<char>(*typed.byte));
      if (typed.command == EscapeCommand::kHelp) show(kHelp);
      if (typed.command == EscapeCommand::kQuit) status_ = kExitOk;
    }
    if (::send(connection_.get(), kept.data(), kept.size(), MSG_NOSIGNAL) < 0) status_ = kExitOk;
  }

  Fd connection_;
  Fd signals_;
  bool terminal_;
  bool input_open_ = true;
  EscapeFilter filter_;
  std::optional<int> status_;
};

}  // namespace

int console_command(const std::string& name) {
  const RuntimeDir runtime = RuntimeDir::open();
  ControlClient client(runtime, name);
  client.ask("console");
  if (::isatty(STDIN_FILENO) != 0) {
    std::fprintf(stderr, "bulkhead: console of '%s'; Ctrl-A x leaves it, Ctrl-A h helps\n",
                 name.c_str());
  }
  return ConsoleSession(client.take()).run();
}

}  // namespace bulkhead::cli
