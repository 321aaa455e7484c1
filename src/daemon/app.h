// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead::daemon {

// All of bulkheadd but main().
int run_program(int argc, char** argv);

}  // namespace bulkhead::daemon
