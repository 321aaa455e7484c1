// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/run_options.h"

// What the subcommands do. Each returns the exit status, or throws UsageError or HostError.

namespace bulkhead::cli {

int run_command(const RunOptions& options);
int ps_command(bool json);
int console_command(const std::string& name);
int doctor_command(bool json);
// `arguments` is what follows "lab": a script's name and its arguments, passed on unchanged.
int lab_command(int argc, char** argv);

struct StopOptions {
  std::string name;
  bool force = false;
  unsigned timeout_s = 30;
};
int stop_command(const StopOptions& options);

}  // namespace bulkhead::cli
