// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vtpm/protocol.h"

namespace bulkhead::vtpm {
namespace {

// The wait status of a child that confines itself, and then makes one system call.
template <class... Arguments>
int status_of(long number, Arguments... arguments) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int file = ::memfd_create("test", 0);
    for (const int fd : {kSocketFd, kStateFd, kCounterFd}) ::dup2(file, fd);
    if (!confine()) ::_exit(99);
    ::syscall(number, arguments...);
    ::syscall(SYS_exit_group, 7);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

template <class... Arguments>
void expect_killed(const char* what, long number, Arguments... arguments) {
  const int status = status_of(number, arguments...);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << what << ": " << status;
}

template <class... Arguments>
void expect_allowed(const char* what, long number, Arguments... arguments) {
  const int status = status_of(number, arguments...);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << what << ": " << status;
}

TEST(VtpmConfinement, KillsWhateverATpmDoesNotNeed) {
  char byte = 0;
  expect_killed("open", SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
  expect_killed("socket", SYS_socket, AF_INET, SOCK_STREAM, 0);
  expect_killed("execve", SYS_execve, "/bin/true", nullptr, nullptr);
  expect_killed("fork", SYS_fork);
  expect_killed("kill", SYS_kill, 1, 0);
  expect_killed("ptrace", SYS_ptrace, 0, 0, 0, 0);
  expect_killed("stat", SYS_newfstatat, kStateFd, "/etc/passwd", nullptr, 0);
  expect_killed("write to the state by position", SYS_write, kStateFd, &byte, 1);
  expect_killed("read from elsewhere", SYS_pread64, STDIN_FILENO, &byte, 1, 0);
  expect_killed("code", SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
}

TEST(VtpmConfinement, LetsATpmWork) {
  char byte = 0;
  expect_allowed("read the state", SYS_pread64, kStateFd, &byte, 1, 0);
  expect_allowed("write the state", SYS_pwrite64, kStateFd, &byte, 1, 0);
  expect_allowed("sync the counter", SYS_fdatasync, kCounterFd);
  expect_allowed("receive", SYS_recvfrom, kSocketFd, &byte, 1, MSG_DONTWAIT, nullptr, nullptr);
  expect_allowed("random bytes", SYS_getrandom, &byte, 1, 0);
}

// Whoever is not the child of the monitor that it was told of has nobody to work for.
TEST(VtpmConfinement, AMonitorThatHasGoneIsSeen) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool stranger = harden(::getpid()).has_value();
    const bool parent = harden(::getppid()).has_value();
    ::_exit(!stranger && parent ? 7 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
}

}  // namespace
}  // namespace bulkhead::vtpm
