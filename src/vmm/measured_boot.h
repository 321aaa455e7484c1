// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "boot/loader.h"
#include "mem/guest_memory.h"
#include "vmm/launch_facts.h"
#include "vmm/tpm_process.h"

namespace bulkhead {

// What was put where for one start.
struct MeasuredStart {
  const LaunchSpec& spec;
  const GuestMemory& memory;
  const boot::Loaded& loaded;
  const MeasuredCopy& kernel;
  const MeasuredCopy* initrd = nullptr;  // it was loaded from; null: from what can change
};

// Measures a start into the partition's TPM, and gives up the platform's authority over it: after
// everything is loaded, and before the guest can say anything to its TPM. ACPI tables, and an
// initrd that is no copy, are read back from guest memory. Returns the event log, behind which
// memory stays zero. On an error the guest must not run: what is missing it could extend itself.
Result<std::vector<std::byte>> measure_start(const MeasuredStart& start, TpmProcess& tpm);

}  // namespace bulkhead
