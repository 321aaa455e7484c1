// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

namespace bulkhead::cli {

inline constexpr int kExecFailed = 127;  // as in a shell

// A child with standard input and output on /dev/null.
struct SpawnRequest {
  std::string program;  // looked up in PATH
  std::vector<std::string> arguments;
  std::vector<int> keep_open;
  int stderr_fd = -1;
};

// Throws HostError if there can be no child. A program that is not there ends with kExecFailed.
pid_t spawn_process(const SpawnRequest& request);

// Null-terminated, for execv(2); valid as long as the strings are.
std::vector<char*> argument_pointers(std::vector<std::string>& arguments);

// Standard input and output lead nowhere from now on; ends the process if that cannot be. Safe
// between fork and exec.
void leave_terminal();

// Clears FD_CLOEXEC. Safe between fork and exec.
void keep_across_exec(std::span<const int> descriptors);

// The exit status that stands for waitpid(2)'s: 128+n when signal n ended the process.
int exit_status(int wait_status);

// The directory that the running program is in.
std::string program_directory();

}  // namespace bulkhead::cli
