// SPDX-License-Identifier: Apache-2.0
#include "agent/hand_over.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.h"

namespace bulkhead::agent {
namespace {

struct Pipe {
  Fd out;
  Fd in;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("cannot make a pipe");
  return Pipe{.out = Fd(ends[0]), .in = Fd(ends[1])};
}

// What the program finds where.
struct Redirection {
  int from = -1;
  int to = -1;
};

// The program is not made by fork(2) and code of ours: the secrets' memory is absent in a child.
Result<pid_t> start(std::vector<std::string> words, Redirection descriptor) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t pipes;
  sigemptyset(&pipes);
  sigaddset(&pipes, SIGPIPE);  // which we ignore
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, descriptor.from, descriptor.to);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigdefault(&attributes, &pipes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t id = -1;
  const int failed =
      ::posix_spawnp(&id, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return os_error(failed, "cannot start the command");
  return id;
}

Result<int> await_end(pid_t id) {
  int status = 0;
  while (::waitpid(id, &status, 0) < 0) {
    if (errno != EINTR) return os_error("the command is lost");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Up to the end, or to one byte more than there may be.
Result<std::string> read_up_to(int fd, std::size_t max_bytes) {
  std::string text;
  while (text.size() <= max_bytes) {
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error("the command's output cannot be read");
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

Result<void> write_secret(int fd, const SecretBytes& secret) {
  if (::isatty(fd) != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "a secret is not written to a terminal: send it to a file or a pipe, or give a "
                 "command"};
  }
  return write_all(fd, secret.bytes(), "the secret cannot be written");
}

Result<int> run_with_secret(const Recipient& recipient, const SecretBytes& secret) {
  CHECK(!recipient.command.empty());
  Pipe pipe = TRY(make_pipe());
  const pid_t id = TRY(start(recipient.command, {pipe.out.get(), recipient.fd}));
  pipe.out.reset();
  const Result<void> written =
      write_all(pipe.in.get(), secret.bytes(), "the secret cannot be written");
  pipe.in.reset();
  // In any case: nobody else waits for it.
  const int status = TRY(await_end(id));
  // Who ends well without having read everything knew why.
  if (!written && status == 0 && written.error().os_errno != EPIPE) return written.error();
  return status;
}

Result<std::string> output_of(const std::vector<std::string>& command, std::size_t max_bytes) {
  Pipe pipe = TRY(make_pipe());
  const pid_t id = TRY(start(command, {pipe.in.get(), STDOUT_FILENO}));
  pipe.in.reset();
  auto text = read_up_to(pipe.out.get(), max_bytes);
  pipe.out.reset();
  const int status = TRY(await_end(id));
  if (!text) return text.error();
  if (text->size() > max_bytes) return Error{Errc::kExhausted, 0, "it says too much"};
  if (status != 0) return Error{Errc::kIo, 0, "it failed, see above"};
  return text;
}

}  // namespace bulkhead::agent
