// SPDX-License-Identifier: Apache-2.0
#include "cli/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "cli/error.h"

namespace bulkhead::cli {

pid_t spawn_process(const SpawnRequest& request) {
  std::vector<std::string> arguments = request.arguments;
  const std::vector<char*> pointers = argument_pointers(arguments);
  const pid_t pid = ::fork();
  if (pid < 0) throw HostError("cannot start a process: " + errno_text(errno));
  if (pid > 0) return pid;
  leave_terminal();
  if (request.stderr_fd >= 0) ::dup2(request.stderr_fd, STDERR_FILENO);
  keep_across_exec(request.keep_open);
  ::signal(SIGPIPE, SIG_DFL);
  ::execvp(request.program.c_str(), pointers.data());
  ::_exit(kExecFailed);
}

std::vector<char*> argument_pointers(std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  return pointers;
}

void leave_terminal() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(null, STDOUT_FILENO) < 0) {
    ::_exit(kExitHost);
  }
}

void keep_across_exec(std::span<const int> descriptors) {
  for (int fd : descriptors) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0) ::fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
  }
}

int exit_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) return 128 + WTERMSIG(wait_status);
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : kExitHost;
}

std::string program_directory() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw HostError("cannot find out where this program is; is /proc mounted?");
  return program.parent_path().string();
}

}  // namespace bulkhead::cli
