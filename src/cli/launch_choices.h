// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/launcher.h"
#include "cli/partition_config.h"

// From what the user chose to a specification: what `run` and `measure` have in common.

namespace bulkhead::cli {

void copy_choices(LaunchSpec& spec, const PartitionConfig& config);

// Kernel, initrd and command line. Throws UsageError.
void open_boot_files(Launch& launch, const PartitionConfig& config);

}  // namespace bulkhead::cli
