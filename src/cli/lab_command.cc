// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cli/commands.h"
#include "cli/error.h"

namespace bulkhead::cli {
namespace {

constexpr const char* kHelp =
    "Usage: bulkhead lab run [OPTIONS] -- COMMAND...\n"
    "       bulkhead lab setup [OPTIONS]\n"
    "\n"
    "The lab is a Debian host in QEMU's software CPU, with a real /dev/kvm, on any machine.\n"
    "'setup' fetches what it needs; 'run' runs a command in it and returns its exit status.\n"
    "What follows is passed to the lab's script: try 'bulkhead lab run --help'.\n"
    "\n"
    "Example:\n"
    "  bulkhead lab run -- bulkhead doctor\n";

std::string lab_directory() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command line has one thread
  const char* chosen = std::getenv("BULKHEAD_LAB");
  return chosen != nullptr && *chosen != '\0' ? chosen : BULKHEAD_LAB_DIR;
}

}  // namespace

int lab_command(int argc, char** argv) {
  const std::string script = argc > 0 ? argv[0] : "";
  if (script == "--help" || script == "-h") {
    std::fputs(kHelp, stdout);
    return kExitOk;
  }
  if (script != "run" && script != "setup") {
    throw UsageError("lab: say 'lab run -- COMMAND' or 'lab setup'; see bulkhead lab --help");
  }
  const std::string program = lab_directory() + "/" + script;
  std::string name = program;
  argv[0] = name.data();
  ::execv(program.c_str(), argv);
  throw HostError("cannot run '" + program + "': " + errno_text(errno) +
                  "; set BULKHEAD_LAB to the lab/ directory of Bulkhead's source tree");
}

}  // namespace bulkhead::cli
