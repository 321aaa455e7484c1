// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

// Exit statuses and exceptions of the command line. A message is one line: what is wrong; what to
// do about it.

namespace bulkhead::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitHost = 1;
inline constexpr int kExitUsage = 2;

// The user asked for something that cannot be: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The host, or a partition, did not do as asked: exit status 1.
class HostError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "No such file or directory" for ENOENT.
std::string errno_text(int error_number);

// Writes "bulkhead: message" as one line to standard error, whatever bytes a file name brings in.
void print_error(const std::string& message);

}  // namespace bulkhead::cli
