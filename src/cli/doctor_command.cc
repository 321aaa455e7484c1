// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "cli/daemon_client.h"
#include "host/doctor.h"

namespace bulkhead::cli {

int doctor_command(bool json) {
  return host::doctor_main(json, daemon_socket());
}

}  // namespace bulkhead::cli
