// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead::agent {

// The whole program. The exit status.
int run_program(int argc, char** argv);

}  // namespace bulkhead::agent
