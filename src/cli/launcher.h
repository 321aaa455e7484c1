// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "cli/runtime_dir.h"
#include "vmm/launch_spec.h"

namespace bulkhead::cli {

// Everything a partition is started from. `opened` keeps the descriptors named in `spec`.
struct Launch {
  LaunchSpec spec;
  std::vector<Fd> opened;
};

// Keeps the descriptor open, and returns its number.
int keep(Launch& launch, Fd fd);

// Whether BULKHEAD_VMM names another monitor than the one beside this program.
bool has_own_monitor();

// The monitor's program, to be measured: beside this program, or what BULKHEAD_VMM names. Throws
// HostError.
Fd open_monitor_program();

// The program of a TPM: beside this program, or what BULKHEAD_VTPM names. Throws HostError.
Fd open_tpm_program();

// Become the monitor: nothing of this process stays. Does not return.
[[noreturn]] void launch_in_place(Launch launch);

// Runs the monitor as a child, with the terminal in raw mode. Returns its exit status; the terminal
// is as it was, however the monitor ended.
int launch_on_terminal(Launch launch, const RuntimeDir& runtime);

// Runs the monitor in the background. Returns 0 once the guest runs, and otherwise 1 after the
// monitor's own message.
int launch_detached(Launch launch, const RuntimeDir& runtime);

}  // namespace bulkhead::cli
