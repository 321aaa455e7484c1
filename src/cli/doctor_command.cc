// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "host/doctor.h"

namespace bulkhead::cli {

int doctor_command(bool json) {
  return host::doctor_main(json);
}

}  // namespace bulkhead::cli
