// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"

// Runs the built `bulkhead` the way a user does, with a monitor that needs no KVM.

namespace bulkhead::cli::testing {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

// A fresh directory with a runtime directory and a minimal kernel; removed at the end.
class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  void write_file(const std::string& name, std::string_view content) const;
  // A sparse file.
  void make_image(const std::string& name, std::uint64_t bytes) const;

  // Without a terminal, standard input from /dev/null or from `input`.
  Outcome bulkhead(const std::vector<std::string>& arguments, std::string_view input = "") const;
  // `run` with the minimal kernel.
  Outcome run(const std::vector<std::string>& arguments, std::string_view input = "") const;
  // run --detach; the partition is forced to end in TearDown.
  void start_detached(const std::string& name, const std::string& cmdline = "");

  // Arguments and environment of a child, just before exec.
  static void exec_bulkhead(const std::vector<std::string>& arguments);

  std::filesystem::path directory_;
  std::vector<std::string> detached_;
};

// `bulkhead` on a terminal of its own.
class TerminalProgram {
 public:
  explicit TerminalProgram(const std::vector<std::string>& arguments);
  ~TerminalProgram();

  pid_t pid() const { return pid_; }
  void type(std::string_view text) const;
  // Reads until `text` was seen; false when it does not come in time.
  bool wait_for(std::string_view text);
  // Whether the terminal is in raw mode now.
  bool is_raw() const;
  bool becomes_raw(bool raw) const;
  // The exit status, 128+n for a signal, or -1 when it does not end in time.
  int wait();
  const std::string& seen() const { return seen_; }

 private:
  Fd master_;
  Fd slave_;  // keeps the terminal alive, to look at its mode afterwards
  pid_t pid_ = -1;
  std::string seen_;
};

}  // namespace bulkhead::cli::testing
