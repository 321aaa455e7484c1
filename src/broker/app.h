// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/service.h"

namespace bulkhead::broker {

// The whole program. Tests give it judges of their own. The exit status.
int run_program(int argc, char** argv, const JudgeFactory& judges);

}  // namespace bulkhead::broker
