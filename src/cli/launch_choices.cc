// SPDX-License-Identifier: Apache-2.0
#include "cli/launch_choices.h"

#include "cli/error.h"
#include "cli/launch_files.h"

namespace bulkhead::cli {

void open_boot_files(Launch& launch, const PartitionConfig& config) {
  OpenedKernel kernel = open_kernel(config.kernel, config.unpack);
  if (kernel.needed_bytes > config.memory_bytes) {
    throw UsageError("kernel '" + config.kernel + "' needs more than " +
                     std::to_string(config.memory_bytes / kMiB) + " MiB of memory; raise --memory");
  }
  launch.spec.kernel_kind = kernel.kind;
  launch.spec.kernel_fd = keep(launch, std::move(kernel.fd));
  if (!config.initrd.empty()) {
    launch.spec.initrd_fd =
        keep(launch, open_initrd(config.initrd, kernel.needed_bytes, config.memory_bytes));
  }
  launch.spec.command_line = config.command_line;
}

void copy_choices(LaunchSpec& spec, const PartitionConfig& config) {
  spec.memory_bytes = config.memory_bytes;
  spec.backing = config.backing;
  spec.max_memory_bytes = config.max_memory_bytes;
  spec.lock_memory = config.lock_memory;
  spec.cpus = config.cpus;
  spec.vsock = config.vsock;
  spec.rng = config.rng;
  spec.balloon = config.balloon;
  spec.on_reboot = config.on_reboot;
  spec.log_level = config.verbose ? LogLevel::kInfo : LogLevel::kWarning;
  spec.watchdog_ms = config.watchdog_ms;
  spec.debug = config.debug;
}

}  // namespace bulkhead::cli
