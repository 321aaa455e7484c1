// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead::cli {

// The program. Prints every error as one line, and returns the exit status.
int run_program(int argc, char** argv);

}  // namespace bulkhead::cli
