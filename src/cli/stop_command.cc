// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/error.h"
#include "cli/runtime_dir.h"

namespace bulkhead::cli {
namespace {

constexpr int kKillMs = 5000;

// Whether the partition ended after being asked.
bool ask_to_end(const RuntimeDir& runtime, const StopOptions& options) {
  try {
    ControlClient client(runtime, options.name);
    if (!options.force) {
      if (client.power_off(static_cast<int>(options.timeout_s) * 1000)) return true;
      std::fprintf(stderr, "bulkhead: '%s' did not power off within %u s; forcing it\n",
                   options.name.c_str(), options.timeout_s);
    }
    client.ask("kill");
    return client.wait_for_end(kKillMs);
  } catch (const HostError&) {
    if (!options.force && runtime.is_live(options.name)) throw;
    return false;
  }
}

void kill_process(const RuntimeDir& runtime, const std::string& name) {
  const pid_t pid = runtime.pid_of(name);
  if (pid > 1 && runtime.is_live(name)) ::kill(pid, SIGKILL);
}

}  // namespace

int stop_command(const StopOptions& options) {
  const RuntimeDir runtime = RuntimeDir::open();
  if (!runtime.is_live(options.name)) {
    runtime.remove_if_dead(options.name);
    throw HostError("no partition named '" + options.name + "' is running; see 'bulkhead ps'");
  }
  if (!ask_to_end(runtime, options)) kill_process(runtime, options.name);
  if (!runtime.wait_until_dead(options.name, kKillMs)) {
    throw HostError("partition '" + options.name + "' does not end; look at process " +
                    std::to_string(runtime.pid_of(options.name)));
  }
  runtime.remove_if_dead(options.name);
  return kExitOk;
}

}  // namespace bulkhead::cli
