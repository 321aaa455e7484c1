// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"

namespace bulkhead::vtpm {

// The process ends with its parent, shows nobody its memory, and gets no privileges; first of all.
Result<void> harden(int parent_pid);

// Takes everything else from this process, all threads of it: what stays is to talk over kSocketFd,
// to read and write kStateFd and kCounterFd, to log, and memory. There is no way back.
Result<void> confine();

}  // namespace bulkhead::vtpm
