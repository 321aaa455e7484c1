// SPDX-License-Identifier: Apache-2.0
// bulkheadd: keeps the host's frames, and the ledger of who owns which.
#include "daemon/app.h"

int main(int argc, char** argv) {
  return bulkhead::daemon::run_program(argc, argv);
}
