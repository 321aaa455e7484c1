// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/err.h>

namespace bulkhead {

// What OpenSSL refuses about foreign bytes leaves no error queued for the next caller.
struct ErrorQueueCleaner {
  ErrorQueueCleaner() = default;
  ErrorQueueCleaner(const ErrorQueueCleaner&) = delete;
  ErrorQueueCleaner& operator=(const ErrorQueueCleaner&) = delete;
  ~ErrorQueueCleaner() { ERR_clear_error(); }
};

}  // namespace bulkhead
