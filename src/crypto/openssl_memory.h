// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "base/result.h"

namespace bulkhead {

// Moves what OpenSSL allocates from now on (expanded keys, states of MACs) into the process's
// SecretArena, and onto the ordinary heap only when that is full. To be called once, as one of the
// first things a program does: kBusy if OpenSSL has allocated before. Optional.
Result<void> keep_openssl_memory_secret();

// How many allocations did not fit since then: for each, a key may lie on the ordinary heap.
std::size_t openssl_allocations_not_secret();

}  // namespace bulkhead
