// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "cli/commands.h"
#include "cli/daemon_client.h"
#include "cli/error.h"
#include "cli/launch_choices.h"
#include "cli/launch_files.h"
#include "cli/launcher.h"
#include "cli/net_setup.h"
#include "cli/partition_config.h"
#include "cli/runtime_dir.h"

namespace bulkhead::cli {
namespace {

void open_disks(Launch& launch, const PartitionConfig& config) {
  for (const DiskRequest& request : config.disks) {
    launch.spec.disks.push_back({.fd = keep(launch, open_disk(request)),
                                 .read_only = request.read_only,
                                 .discard = request.discard && !request.read_only,
                                 .queues = request.queues,
                                 .serial = request.serial});
  }
}

void open_nets(Launch& launch, const PartitionConfig& config) {
  for (const NetRequest& request : config.nets) {
    const std::size_t index = launch.spec.nets.size();
    const bool tap = request.kind == NetKind::kTap;
    NetSetup setup = tap ? open_tap(request.tap) : start_passt(request);
    launch.spec.nets.push_back({.kind = request.kind,
                                .fd = keep(launch, std::move(setup.fd)),
                                .mac = request.mac.value_or(make_mac(launch.spec.name, index)),
                                .mtu = setup.mtu});
  }
}

void open_seal_files(Launch& launch, const SealRequest& request) {
  SealSpec& seal = launch.spec.seal;
  seal.resident_bytes = request.resident_bytes;
  seal.compress = request.compress;
  if (!request.key_file.empty()) seal.key_fd = keep(launch, open_key_file(request.key_file));
  if (!request.sealed_dir.empty()) {
    seal.store_fd = keep(launch, open_sealed_file(request.sealed_dir));
  }
}

void open_tpm(Launch& launch, const PartitionConfig& config) {
  if (!config.tpm) return;
  TpmSpec tpm;
  tpm.program_fd = keep(launch, open_tpm_program());
  if (!config.tpm->state_file.empty()) {
    tpm.state_fd = keep(launch, open_tpm_file("TPM state", config.tpm->state_file));
    tpm.counter_fd = keep(launch, open_tpm_file("TPM counter", config.tpm->counter_file));
    tpm.counter_in = config.tpm->counter_in;
  }
  // Also for a partition with private frames: it is the machine that is certified.
  if (const std::string socket = daemon_socket(); daemon_answers(socket)) tpm.certifier = socket;
  launch.spec.tpm = tpm;
}

// Whose frames the partition takes.
void choose_frames(LaunchSpec& spec, const PartitionConfig& config) {
  const bool pooled = config.backing == MemoryBacking::kCarved || config.numa_node >= 0;
  const bool needed = config.frames == FrameChoice::kDaemon || pooled;
  if (config.frames == FrameChoice::kPrivate) return;
  const std::string socket = daemon_socket();
  if (daemon_answers(socket)) {
    spec.frames = FrameKeeper::kDaemon;
    spec.daemon_socket = socket;
    spec.numa_node = config.numa_node;
  } else if (needed) {
    throw HostError("bulkheadd does not answer at " + socket +
                    ", and these frames are its own; start it (see bulkheadd --help)");
  }
}

void enter_runtime_dir(Launch& launch, RuntimeEntry entry) {
  launch.spec.name = entry.name;
  launch.spec.runtime_dir = entry.path;
  launch.spec.control_fd = keep(launch, listen_control(entry));
  launch.spec.runtime_fd = keep(launch, std::move(entry.directory));
}

// All that the user may have got wrong is found here, before anything is started.
Launch prepare(const PartitionConfig& config, RuntimeEntry entry) {
  Launch launch;
  copy_choices(launch.spec, config);
  enter_runtime_dir(launch, std::move(entry));
  open_boot_files(launch, config);
  open_disks(launch, config);
  open_seal_files(launch, config.seal);
  open_tpm(launch, config);
  choose_frames(launch.spec, config);
  if (launch.spec.frames == FrameKeeper::kPrivate) {
    check_memory(config.memory_bytes, config.backing);
  }
  if (config.vsock) check_vsock(*config.vsock);
  if (!has_own_monitor()) check_kvm();
  open_nets(launch, config);
  return launch;
}

int start(Launch launch, const RuntimeDir& runtime, const PartitionConfig& config) {
  if (launch.spec.frames == FrameKeeper::kPrivate && config.frames == FrameChoice::kAuto) {
    std::fprintf(stderr, "bulkhead: no bulkheadd: the ledger covers this partition alone\n");
  }
  if (config.detach) return launch_detached(std::move(launch), runtime);
  if (::isatty(STDIN_FILENO) == 0) launch_in_place(std::move(launch));
  std::fprintf(stderr, "bulkhead: console of '%s'; Ctrl-A x ends the partition, Ctrl-A h helps\n",
               launch.spec.name.c_str());
  return launch_on_terminal(std::move(launch), runtime);
}

}  // namespace

int run_command(const RunOptions& options) {
  const PartitionConfig config = understand(options);
  const RuntimeDir runtime = RuntimeDir::open();
  RuntimeEntry entry = config.name.empty() ? runtime.claim_any() : runtime.claim(config.name);
  const std::string name = entry.name;
  try {
    return start(prepare(config, std::move(entry)), runtime, config);
  } catch (...) {
    runtime.remove_if_dead(name);  // nothing is left behind
    throw;
  }
}

}  // namespace bulkhead::cli
