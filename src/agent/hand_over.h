// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "crypto/secret_bytes.h"

namespace bulkhead::agent {

// Writes all of the secret. kInvalidArgument for a terminal: who sees it there may be anybody.
Result<void> write_secret(int fd, const SecretBytes& secret);

// A program, found by PATH, that reads the secret from one of its descriptors.
struct Recipient {
  std::vector<std::string> command;
  int fd = 0;
};
// Its exit status; 128 and the signal's number if one ended it. kNotFound if there is no such
// program.
Result<int> run_with_secret(const Recipient& recipient, const SecretBytes& secret);

// What a program writes to its standard output. kIo if it fails, kExhausted beyond `max_bytes`.
Result<std::string> output_of(const std::vector<std::string>& command, std::size_t max_bytes);

}  // namespace bulkhead::agent
