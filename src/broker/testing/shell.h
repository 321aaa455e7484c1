// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"

namespace bulkhead::broker {

// A directory of the test's own; removed at the end.
class TempDir {
 public:
  TempDir() { CHECK(::mkdtemp(path_.data()) != nullptr); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string operator/(const char* name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::temp_directory_path().string() + "/broker.XXXXXX";
};

struct ShellResult {
  int status = -1;
  std::string out;
};

// Runs a command of stock tools, and keeps what it prints.
inline ShellResult shell(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");  // NOLINT: a test
  CHECK(pipe != nullptr);
  ShellResult result;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.out.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

inline bool have(const std::string& program) {
  return shell("command -v " + program + " >/dev/null").status == 0;
}

}  // namespace bulkhead::broker
