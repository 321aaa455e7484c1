// SPDX-License-Identifier: Apache-2.0
#include "agent/program/app.h"

int main(int argc, char** argv) {
  return bulkhead::agent::run_program(argc, argv);
}
