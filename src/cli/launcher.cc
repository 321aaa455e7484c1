// SPDX-License-Identifier: Apache-2.0
#include "cli/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cli/child_watch.h"
#include "cli/error.h"
#include "cli/process.h"
#include "cli/terminal.h"

namespace bulkhead::cli {
namespace {

// A monitor that could not start ends within this time.
constexpr int kEndMs = 5000;

// Empty when the usual one is meant.
std::string chosen_monitor() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  const char* chosen = std::getenv("BULKHEAD_VMM");
  return chosen != nullptr ? chosen : "";
}

std::string monitor_program() {
  const std::string path =
      has_own_monitor() ? chosen_monitor() : program_directory() + "/bulkhead-vmm";
  if (::access(path.c_str(), X_OK) == 0) return path;
  throw HostError("cannot run '" + path + "': " + errno_text(errno) +
                  "; keep bulkhead-vmm beside bulkhead, or set BULKHEAD_VMM");
}

// The monitor's command line, made before any fork: afterwards only system calls are left.
class MonitorCommand {
 public:
  explicit MonitorCommand(const Launch& launch)
      : program_(monitor_program()),
        open_(descriptors(launch.spec)),
        directory_(launch.spec.runtime_fd) {
    auto fd = write_spec_fd(launch.spec);
    if (!fd) throw HostError(fd.error().what);
    spec_fd_ = std::move(*fd);
    open_.push_back(spec_fd_.get());
    arguments_ = {"bulkhead-vmm", "--spec-fd", std::to_string(spec_fd_.get())};
    pointers_ = argument_pointers(arguments_);
  }

  const std::string& program() const { return program_; }

  // Only returns when the program cannot be executed.
  void exec() const {
    write_pid_file(directory_, ::getpid());
    keep_across_exec(open_);
    ::execv(program_.c_str(), pointers_.data());
  }

 private:
  std::string program_;
  std::vector<int> open_;
  int directory_;
  Fd spec_fd_;
  std::vector<std::string> arguments_;
  std::vector<char*> pointers_;
};

[[noreturn]] void exec_or_exit(const MonitorCommand& command) {
  command.exec();
  const int error_number = errno;
  print_error("cannot execute '" + command.program() + "': " + errno_text(error_number));
  ::_exit(kExitHost);
}

struct Pipe {
  Fd reader;
  Fd writer;
};

Pipe make_pipe(int flags) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | flags) != 0) {
    throw HostError("cannot create a pipe: " + errno_text(errno));
  }
  return {Fd(ends[0]), Fd(ends[1])};
}

// The monitor must not outlive us, even if we are killed: nobody would be left to see its terminal.
void die_with_parent(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExitHost);  // it was too late
}

// A session of its own, no terminal, messages into the pipe.
[[noreturn]] void become_background_monitor(const MonitorCommand& command, int messages) {
  ::setsid();
  const pid_t pid = ::fork();  // not the session's leader: it can never get a terminal
  if (pid != 0) ::_exit(pid > 0 ? kExitOk : kExitHost);
  leave_terminal();
  ::dup2(messages, STDERR_FILENO);
  if (::chdir("/") != 0) ::_exit(kExitHost);
  exec_or_exit(command);
}

// One byte says that the guest runs; the end of the pipe, that the monitor is gone.
bool await_ready(int reader) {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(reader, &byte, 1);
  } while (got < 0 && errno == EINTR);
  return got == 1;
}

// What the monitor says while it ends, up to its end.
void relay_messages(int reader) {
  std::array<char, 4096> text;
  pollfd ready{reader, POLLIN, 0};
  while (::poll(&ready, 1, kEndMs) == 1) {
    const ssize_t got = ::read(reader, text.data(), text.size());
    if (got <= 0) return;
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, text.data(), static_cast<size_t>(got));
  }
}

void open_log(Launch& launch) {
  Fd log(::openat(launch.spec.runtime_fd, "console.log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                  0600));
  if (!log.valid()) throw HostError("cannot create console.log: " + errno_text(errno));
  launch.spec.console.log_fd = keep(launch, std::move(log));
}

}  // namespace

bool has_own_monitor() {
  return !chosen_monitor().empty();
}

Fd open_monitor_program() {
  const std::string path = monitor_program();
  auto fd = Fd::open(path.c_str(), O_RDONLY);
  if (!fd) throw HostError("cannot read '" + path + "': " + errno_text(fd.error().os_errno));
  return std::move(*fd);
}

Fd open_tpm_program() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  const char* chosen = std::getenv("BULKHEAD_VTPM");
  const std::string path = chosen != nullptr ? chosen : program_directory() + "/bulkhead-vtpm";
  auto fd = Fd::open(path.c_str(), O_RDONLY);
  if (fd && ::access(path.c_str(), X_OK) == 0) return std::move(*fd);
  throw HostError("cannot run '" + path + "': " + errno_text(errno) +
                  "; keep bulkhead-vtpm beside bulkhead, or set BULKHEAD_VTPM");
}

int keep(Launch& launch, Fd fd) {
  launch.opened.push_back(std::move(fd));
  return launch.opened.back().get();
}

void launch_in_place(Launch launch) {
  if (::fcntl(STDIN_FILENO, F_GETFD) >= 0) {
    launch.spec.console.in_fd = keep(launch, Fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)));
  }
  Fd out = console_output(STDOUT_FILENO);
  if (out.valid()) launch.spec.console.out_fd = keep(launch, std::move(out));
  exec_or_exit(MonitorCommand(launch));
}

int launch_on_terminal(Launch launch, const RuntimeDir& runtime) {
  const std::string name = launch.spec.name;
  launch.spec.console.in_fd = keep(launch, Fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)));
  Fd out = console_output(STDOUT_FILENO);
  if (out.valid()) launch.spec.console.out_fd = keep(launch, std::move(out));
  launch.spec.console.escapes = true;

  int status = 0;
  {
    const MonitorCommand command(launch);
    ChildWatch watch;
    RawTerminal terminal(STDIN_FILENO);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw HostError("cannot start the monitor: " + errno_text(errno));
    if (pid == 0) {
      die_with_parent(parent);
      watch.release_in_child();
      exec_or_exit(command);
    }
    launch.opened.clear();  // the locks are the monitor's alone now
    status = watch.wait(pid, terminal);
  }
  runtime.remove_if_dead(name);
  if (WIFSIGNALED(status) && !killed_on_request(status)) {
    print_error("the monitor of '" + name + "' was killed by signal " +
                std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) +
                "); the partition is gone");
  }
  return exit_status(status);
}

int launch_detached(Launch launch, const RuntimeDir& runtime) {
  const std::string name = launch.spec.name;
  open_log(launch);
  Pipe ready = make_pipe(0);
  Pipe messages = make_pipe(O_NONBLOCK);
  const Fd messages_copy(::fcntl(messages.reader.get(), F_DUPFD_CLOEXEC, 3));
  launch.spec.ready_fd = keep(launch, std::move(ready.writer));
  launch.spec.console.messages_fd = keep(launch, std::move(messages.reader));
  {
    const MonitorCommand command(launch);
    const pid_t pid = ::fork();
    if (pid < 0) throw HostError("cannot start the monitor: " + errno_text(errno));
    if (pid == 0) become_background_monitor(command, messages.writer.get());
    ::waitpid(pid, nullptr, 0);
  }
  launch.opened.clear();
  messages.writer.reset();
  if (await_ready(ready.reader.get())) {
    std::printf("%s\n", name.c_str());
    return kExitOk;
  }
  relay_messages(messages_copy.get());
  runtime.wait_until_dead(name, kEndMs);
  runtime.remove_if_dead(name);
  print_error("partition '" + name + "' did not start");
  return kExitHost;
}

}  // namespace bulkhead::cli
