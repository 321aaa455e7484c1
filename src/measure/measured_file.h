// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/result.h"
#include "crypto/hash.h"

namespace bulkhead {

// Gives a file's whole content to `use`, piece by piece, from offset 0 on, which the file's
// position does not enter into. Ends with the first error of `use`.
Result<void> read_through(int fd,
                          const std::function<Result<void>(std::span<const std::byte>)>& use);

// Digests of a file's whole content. What is measured here and what is read later are the same only
// if nobody can write to the file in between: give a copy of ours, or hash what was loaded instead.
Result<DigestSet> measure_file(int fd, std::span<const HashAlgorithm> banks);

}  // namespace bulkhead
