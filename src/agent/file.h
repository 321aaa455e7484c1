// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "measure/tpm_wire.h"

namespace bulkhead::agent {

// The whole file, up to its end: what the kernel makes up has no length. kExhausted beyond
// `max_bytes`.
Result<Bytes> read_file(const char* path, std::size_t max_bytes);

}  // namespace bulkhead::agent
