// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "crypto/hash.h"

namespace bulkhead {

// Digests of a file's whole content from offset 0, which its file position does not enter into.
// What is measured here and what is read later are the same only if nobody can write to the file in
// between: give a sealed memfd or our own copy, or hash with MultiHash what was loaded instead.
Result<DigestSet> measure_file(int fd, std::span<const HashAlgorithm> banks);

}  // namespace bulkhead
