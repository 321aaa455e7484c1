// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/token/pkcs11_token.h"

namespace bulkhead::broker {

// The token process's whole life: opens the token, says so, and serves its broker on descriptor 3
// until that hangs up. The exit status.
int run_token_process(const TokenConfig& config);

}  // namespace bulkhead::broker
